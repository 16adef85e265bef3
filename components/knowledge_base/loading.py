"""Reads the knowledge base's YAML files; every error names file and line.

`diseases_*.yaml`, `drugs_*.yaml` and `tests_*.yaml` each hold a list of entries. Checked: YAML, unknown and repeated
keys, types and ranges, ids used twice, references to entries that do not exist. Medical codes: `validation.py`.
"""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from components.errors import DataError
from components.knowledge_base.schema import Disease, Drug, Entry, KnowledgeBase, Test

E = TypeVar("E", bound=Entry)
Lines = dict[str, tuple[str, dict[str, int]]]  # entry id -> (file, {key: line})


def load_knowledge_base(folder: Path) -> KnowledgeBase:
    """Load and check every file of the folder.

    Raises:
        DataError: starting with file:line, when a file is missing or malformed or a reference leads nowhere.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; the knowledge base ships in data/knowledge_base, restore it with git"
        )
    diseases, disease_lines = _load_kind(folder, "diseases", Disease)
    drugs, drug_lines = _load_kind(folder, "drugs", Drug)
    tests, test_lines = _load_kind(folder, "tests", Test)
    knowledge_base = KnowledgeBase(diseases=diseases, drugs=drugs, tests=tests)
    _check_references(knowledge_base, disease_lines, drug_lines)
    _check_keywords(knowledge_base, test_lines)
    return knowledge_base


def entry_lines(folder: Path, kind: str) -> Lines:
    """Return where every entry of a kind stands: id → (file, {key: line number})."""
    lines: Lines = {}
    for path in sorted(folder.glob(f"{kind}_*.yaml")):
        for value, key_lines in _read_entries(path):
            lines[str(value.get("id"))] = (str(path), key_lines)
    return lines


def _load_kind(folder: Path, kind: str, model: type[E]) -> tuple[dict[str, E], Lines]:
    paths = sorted(folder.glob(f"{kind}_*.yaml"))
    if not paths:
        raise DataError(f"{folder}: no file {kind}_*.yaml; restore it with git, or add one entry a list item")
    entries: dict[str, E] = {}
    lines: Lines = {}
    for path in paths:
        for value, key_lines in _read_entries(path):
            entry = _validate(path, value, key_lines, model)
            if entry.id in entries:
                first, first_lines = lines[entry.id]
                raise DataError(
                    f"{path}:{key_lines['id']}: id {entry.id!r} is taken by {first}:{first_lines['id']}; rename one"
                )
            entries[entry.id] = entry
            lines[entry.id] = (str(path), key_lines)
    return entries, lines


def _read_entries(path: Path) -> list[tuple[dict[str, Any], dict[str, int]]]:
    """Parse one file into (mapping, {key: 1-based line}) pairs; "" is the line of the entry itself."""
    try:
        loader = yaml.CSafeLoader(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        number = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.SequenceNode):
            raise DataError(f"{path}:1: expected a list of entries, each beginning with '- id:'")
        entries = []
        for item in node.value:
            line = item.start_mark.line + 1
            if not isinstance(item, yaml.MappingNode):
                raise DataError(f"{path}:{line}: expected an entry with keys, found {item.value!r}")
            key_lines = {"": line}
            for key, _ in item.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise DataError(f"{path}:{key.start_mark.line + 1}: a key must be a word; mend the line")
                if key.value in key_lines:
                    raise DataError(
                        f"{path}:{key.start_mark.line + 1}: key {key.value!r} stands twice in one entry; remove one"
                    )
                key_lines[key.value] = key.start_mark.line + 1
            entries.append((loader.construct_document(item), key_lines))
        return entries
    except yaml.MarkedYAMLError as error:
        number = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{number}: not valid YAML ({error.problem}); mend the line") from None
    except yaml.reader.ReaderError as error:
        number = path.read_bytes()[: error.position].count(b"\n") + 1
        raise DataError(f"{path}:{number}: {error.reason}; remove the character") from None
    finally:
        loader.dispose()


def _validate(path: Path, value: dict[str, Any], key_lines: dict[str, int], model: type[E]) -> E:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # An unknown key explains more than the missing one it stands for.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        key = str(first["loc"][0]) if first["loc"] else ""
        line = key_lines.get(key, key_lines[""])
        name = value.get("id", "?")
        raise DataError(f"{path}:{line}: {name}: {field or 'entry'}: {first['msg']}") from None


def _check_references(knowledge_base: KnowledgeBase, disease_lines: Lines, drug_lines: Lines) -> None:
    for disease in knowledge_base.diseases.values():
        _check_ids(disease.id, "first_line_drugs", disease.first_line_drugs, knowledge_base.drugs, disease_lines)
        _check_ids(disease.id, "indicated_tests", disease.indicated_tests, knowledge_base.tests, disease_lines)
    for drug in knowledge_base.drugs.values():
        _check_ids(drug.id, "indications", drug.indications, knowledge_base.diseases, drug_lines)
        partners = tuple(interaction.with_drug for interaction in drug.interactions)
        _check_ids(drug.id, "interactions", partners, knowledge_base.drugs, drug_lines)


def _check_ids(owner: str, key: str, ids: tuple[str, ...], known: dict[str, Any], lines: Lines) -> None:
    for number, identifier in enumerate(ids):
        path, key_lines = lines[owner]
        if identifier not in known:
            raise DataError(
                f"{path}:{key_lines[key]}: {owner}: {key} names {identifier!r}, which no file defines; add or correct it"
            )
        if identifier in ids[:number]:
            raise DataError(f"{path}:{key_lines[key]}: {owner}: {key} names {identifier!r} twice; remove one")


def _check_keywords(knowledge_base: KnowledgeBase, lines: Lines) -> None:
    owners: dict[str, str] = {}
    for test in knowledge_base.tests.values():
        for keyword in test.keywords:
            other = owners.setdefault(keyword.casefold(), test.id)
            if other != test.id:
                path, key_lines = lines[test.id]
                raise DataError(
                    f"{path}:{key_lines['keywords']}: {test.id}: keyword {keyword!r} belongs to {other} already; drop one"
                )
