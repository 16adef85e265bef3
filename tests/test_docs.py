"""What the README and docs/ name exists: paths, links, make targets, commands and parameter keys."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from components.settings.settings import Settings
from flows.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "bench").rglob("*.md"))]
MADE_BY_RUNS = ("var/", "runs/", "artifacts/", "models/", ".venv/", "refs/")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:yaml|toml|lock|py|md)")
KEY = re.compile(r"([a-z_]+)\.([a-z_.]+)")


def _spans(page: Path) -> list[str]:
    return SPAN.findall(page.read_text(encoding="utf-8"))


def _lines_of_code(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [*_spans(page), *(line.strip() for line in text.splitlines() if line.startswith("    "))]


def _has_key(model: type[BaseModel], parts: list[str]) -> bool:
    field = model.model_fields.get(parts[0])
    if field is None:
        return False
    inner = field.annotation
    return len(parts) == 1 or not (isinstance(inner, type) and issubclass(inner, BaseModel)) or _has_key(inner, parts[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_exist(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    rooms = [ROOT, ROOT / "components", ROOT / "docs", page.parent]
    for span in _spans(page):
        if PATH.fullmatch(span) and not span.startswith(MADE_BY_RUNS):
            assert any((room / span).exists() for room in rooms) or span in ("dvc.lock", "models/"), f"{page.name} names {span}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = set(get_command(app).commands)
    for line in _lines_of_code(page):
        if match := re.match(r"make ([a-z-]+)", line):
            assert match[1] in targets, f"{page.name} names `{line}`"
        if match := re.match(r"(?:\.venv/bin/)?quarkmed ([a-z-]+)", line):
            assert match[1] in commands, f"{page.name} names `{line}`"
        if match := re.search(r"make bench NAME=([a-z_]+)", line):
            assert (ROOT / "bench" / match[1]).exists() or (ROOT / "bench" / f"{match[1]}.py").exists(), f"{page.name} names `{line}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_parameter_keys_exist(page):
    for span in _spans(page):
        match = KEY.fullmatch(span)
        if match and match[1] in Settings.model_fields and not PATH.fullmatch(span):
            assert _has_key(Settings, span.split(".")), f"{page.name} names {span}"
