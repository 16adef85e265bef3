"""Values laid over params.yaml for one run: `key=value` texts, checked against the settings before anything starts.

A value is read as YAML, so that `0.001`, `true`, `null`, `[en]` and `{exam: 5}` mean what they mean in params.yaml;
`1e-6` too, which YAML would read as text.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from components.errors import SettingsError
from components.settings.explaining import explain_problems, section_class
from components.settings.settings import Settings, overlay


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Return {dotted key: value} of texts `key=value`.

    Raises:
        SettingsError: a text is not of that form, its value is not YAML, or a key is named twice.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, sign, written = (part.strip() for part in text.partition("="))
        if not sign or not key:
            raise SettingsError(f"override {text!r}: expected key=value, for example ift.steps=400")
        if key in values:
            raise SettingsError(f"override {key}: named twice; keep one")
        values[key] = _read_value(key, written)
    return values


def overlaid_values(base: Mapping[str, Any], *, profile: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of params.yaml with a profile and then overrides laid over them.

    Raises:
        SettingsError: an override names a key that does not exist (with the nearest that does), or has a value out of range;
            or the values below are not valid themselves.
    """
    values = overlay(dict(base), profile or {})
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain_problems(error, Path("params.yaml of the revision, with the profile"), Settings)) from None
    for key, value in overrides.items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = overlay(values, nested)
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, overrides)) from None
    return values


def settings_keys() -> list[str]:
    """Return every dotted key of params.yaml that has a value of its own."""
    return sorted(_keys(Settings, ""))


def _explain(error: ValidationError, overrides: Mapping[str, Any]) -> str:
    unknown = {".".join(str(part) for part in problem["loc"]) for problem in error.errors() if problem["type"] == "extra_forbidden"}
    lines = []
    for key in overrides:
        if any(key == item or key.startswith(f"{item}.") for item in unknown):
            near = difflib.get_close_matches(key, settings_keys(), n=1, cutoff=0.5)
            lines.append(f"override {key}: unknown key" + (f"; did you mean {near[0]}?" if near else "; params.yaml shows the keys"))
    return "\n".join(lines) or explain_problems(error, Path("override"), Settings).replace("override: ", "override ")


def _read_value(key: str, written: str) -> Any:
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise SettingsError(f"override {key}: {written!r} is not valid YAML ({getattr(error, 'problem', error)})") from None
    if isinstance(value, str):
        try:
            return float(value) if any(letter.isdigit() for letter in value) else value
        except ValueError:
            return value
    return value


def _keys(model: type[BaseModel], prefix: str) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = section_class(field.annotation)
        found += _keys(inner, f"{prefix}{name}.") if inner is not None else [f"{prefix}{name}"]
    return found
