"""Which way the code depends: flows → tasks → components, and the layers inside components."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "settings", "documents", "conversations", "lineage", "recorder", "statistics", "storage", "layout", "stage", "turns"},
    {"knowledge_base", "modeling"},
    {"generation"},
    {"curation", "knowledge", "retrieval", "cases", "rewards"},
    {"instructions", "answers", "prompts", "training", "evaluation", "sizing"},
    {"mixture"},
    {"observing"},
    {"tracking", "registry", "pipeline", "launch"},
    {"provenance"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
OWNERS = {
    "mlflow": ("components/tracking/", "components/registry/"),
    "dvc": ("components/pipeline/",),
    "vllm": ("components/generation/colocated_engine.py",),
    "deepspeed": ("components/training/engines/deepspeed_engine.py", "components/training/engines/deepspeed_config.py"),
    "requests": ("components/launch/kubernetes_api.py",),
    "prefect": ("flows/", "tasks/"),
}


@functools.cache
def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_every_room_has_a_layer():
    rooms = {path.stem if path.is_file() else path.name for path in (ROOT / "components").iterdir()} - {"__init__", "__pycache__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("path", _sources("components"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_components_import_only_lower_or_equal_layers(path):
    room = path.relative_to(ROOT / "components").parts[0].removesuffix(".py")
    for name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in {"flows", "tasks"}, f"{path} imports {name}"
        if parts[0] == "components" and len(parts) > 1 and parts[1] in LEVEL and room in LEVEL:
            assert LEVEL[parts[1]] <= LEVEL[room], f"{path} imports {name}: {parts[1]} is above {room}"


@pytest.mark.parametrize("path", _sources("flows", "tasks", "components"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_framework_is_imported_by_its_owner_only(path):
    relative = path.relative_to(ROOT).as_posix()
    for name in _imports(path):
        owners = OWNERS.get(name.split(".")[0])
        if owners:
            assert relative.startswith(owners), f"{relative} imports {name}, which only {owners} may"


@pytest.mark.parametrize("path", _sources("tasks"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tasks_do_not_import_flows(path):
    assert not any(name.split(".")[0] == "flows" for name in _imports(path))
