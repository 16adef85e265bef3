"""What kustomize makes of an overlay, as far as ours use it; a key of kustomize that is not understood here is an error."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
UNDERSTOOD = {"apiVersion", "kind", "resources", "components", "images", "patches"}
Manifest = dict[str, Any]


def render(folder: Path) -> list[Manifest]:
    """Return an overlay's manifests: its resources, patched, their images renamed."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert set(plan) <= UNDERSTOOD, f"{folder}: {set(plan) - UNDERSTOOD}"
    manifests: list[Manifest] = []
    for name in plan["resources"]:
        found = folder / name
        manifests += render(found.resolve()) if found.is_dir() else [item for item in yaml.load_all(found.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) if item]
    manifests = copy.deepcopy(manifests)
    for name in plan.get("components", []):
        add_component(manifests, (folder / name).resolve())
    _patch(manifests, plan, folder)
    for manifest in manifests:
        for container in containers_of(manifest):
            container["image"] = _renamed(container["image"], plan.get("images", []))
    return manifests


def add_component(manifests: list[Manifest], folder: Path) -> None:
    """Change manifests as a component of kustomize does; ours bring patches alone."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert (set(plan), plan["kind"]) == ({"apiVersion", "kind", "patches"}, "Component")
    _patch(manifests, plan, folder)


def _patch(manifests: list[Manifest], plan: Manifest, folder: Path) -> None:
    for patch in plan.get("patches", []):
        wanted = [item for item in manifests if _is_target(item, patch["target"])]
        assert wanted, f"{folder}: no manifest is {patch['target']}"
        for manifest in wanted:
            for change in yaml.safe_load(patch["patch"]):
                _apply(manifest, change)


def containers_of(manifest: Manifest) -> list[Manifest]:
    """Return the containers of a Deployment's or a Job's pods, those that run first among them."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def _is_target(manifest: Manifest, target: dict[str, str]) -> bool:
    assert set(target) == {"kind", "name"}
    return (manifest["kind"], manifest["metadata"]["name"]) == (target["kind"], target["name"])


def _apply(manifest: Manifest, change: dict[str, Any]) -> None:
    """Apply one operation of a JSON patch (RFC 6902): replace what is there, or add to a mapping or at a list's end."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")[1:]]
    at: Any = manifest
    for part in path:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if last == "-":
        assert change["op"] == "add"
        at.append(change["value"])
        return
    key = int(last) if isinstance(at, list) else last
    if change["op"] == "replace":
        assert at[key] is not None
    else:
        assert change["op"] == "add" and isinstance(at, dict)
    at[key] = change["value"]


def _renamed(image: str, renames: list[dict[str, str]]) -> str:
    name, _, tag = image.partition(":")
    for rename in renames:
        if rename["name"] == name:
            return f"{rename.get('newName', name)}:{rename.get('newTag', tag)}"
    return image


@pytest.fixture(scope="session")
def with_jobsets() -> Callable[[list[Manifest]], list[Manifest]]:
    """Return a function that adds the component of JobSets to an overlay's manifests."""

    def add(manifests: list[Manifest]) -> list[Manifest]:
        add_component(manifests, KUBERNETES / "components" / "jobset")
        return manifests

    return add


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], list[Manifest]]:
    """Return a function from a folder below infra/kubernetes/ to its manifests."""
    kept = {folder: render(KUBERNETES / folder) for folder in ("base", *(f"overlays/{path.name}" for path in (KUBERNETES / "overlays").iterdir()))}
    return lambda name: copy.deepcopy(kept[name])
