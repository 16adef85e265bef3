"""dvc.yaml against the code: each stage's deps name exactly the rooms it imports, and layout.py's paths are outputs."""

import ast
import functools
from pathlib import Path

import pytest
import yaml

from components import layout
from components.pipeline.stages import STAGES
from components.settings.settings import Settings
from components.stage import declared_stages

ROOT = Path(__file__).parents[1]
DECLARED = declared_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))
LEAVES = {"errors", "settings", "documents", "conversations", "lineage", "recorder", "storage", "stage", "layout"}  # carry data, decide nothing


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("components.") and _module_file(name)}


def _rooms(module: str) -> set[str]:
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _imported_modules(_module_file(name))
    return {name.split(".")[1] for name in seen} - LEAVES


def test_every_stage_has_a_function_and_a_row():
    assert list(DECLARED) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_rooms_it_imports(stage):
    declared = {dep.split("/")[1].removesuffix(".py") for dep in DECLARED[stage]["deps"] if dep.startswith("components/")}
    assert declared == _rooms(STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_sections_that_exist(stage):
    assert set(DECLARED[stage]["params"]) <= set(Settings.model_fields)


def test_every_path_of_the_layout_is_an_output_of_one_stage():
    outs = [out for row in DECLARED.values() for out in row["outs"]]
    paths = [value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str) and not value.startswith("data/")]
    for path in paths:
        assert sum(path == out or path.startswith(f"{out}/") for out in outs) == 1, path


def test_no_stage_depends_on_a_later_one():
    made: set[str] = set()
    for row in DECLARED.values():
        for dep in row["deps"]:
            if dep.startswith(("artifacts/", "models/")):
                assert any(dep == out or dep.startswith(f"{out}/") for out in made), dep
        made |= set(row["outs"])
