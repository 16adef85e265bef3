"""What is wrong with a YAML file, in words: file:line, key, and the nearest right key where one is unknown."""

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@|([?&]password=)[^&'\s]*")
HIDDEN = r"\1\2***"


def explain_problems(error: ValidationError, path: Path, model: type[BaseModel]) -> str:
    """Return one line a problem: `file:line: key: what is wrong`.

    Args:
        path: the YAML file the values were read from; lines are found in it anew.
        model: what the values were validated as.
    """
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location)
        where = f"{path}{line_of(path, location)}: {key}" if key else f"{path}"
        if problem["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            near = difflib.get_close_matches(location[-1], known, n=1)
            hint = f"did you mean {'.'.join([*location[:-1], near[0]])}?" if near else f"known keys: {', '.join(known)}"
            lines.append(f"{where}: unknown key; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: missing; add it")
        else:
            found = f" (found {PASSWORD.sub(HIDDEN, repr(problem['input']))})" if key else ""
            lines.append(f"{where}: {problem['msg']}{found}")
    return "\n".join(lines)


def line_of(path: Path, location: list[str]) -> str:
    """Return ":<line>" of a key in a YAML file, as deep as the file has it; "" where it has none of it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return ""
    line = None
    for part in location:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        for key_node, value_node in node.value:
            if key_node.value == part:
                line, node = key_node.start_mark.line + 1, value_node
                break
        else:
            break
    return f":{line}" if line else ""


def section_class(annotation: Any) -> type[BaseModel] | None:
    """Return the model class an annotation holds: itself, within a union with None, or as a tuple's item."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, list):
        found = [section_class(part) for part in typing.get_args(annotation)]
        return next((item for item in found if item is not None), None)
    return None


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        inner = None if field is None else section_class(field.annotation)
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)
