"""Text with identifiers whose places are known: the gold spans that de-identification is measured against."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

IdentifierType = Literal[
    "NAME", "DATE", "AGE_OVER_89", "PHONE", "EMAIL", "ADDRESS", "ID", "URL", "ACCOUNT", "ORGANIZATION"
]


@dataclass(frozen=True)
class Planted:
    """An invented identifier and its type."""

    type: IdentifierType
    text: str


@dataclass(frozen=True)
class PlantedText:
    """A text and its planted spans as (start, end, type), in code points, sorted, none overlapping."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


def fill(template: str, values: Mapping[str, Planted | str]) -> PlantedText:
    """Fill `{name}` fields and note where every planted identifier came to stand.

    Raises:
        KeyError: the template names a value that is not given.
    """
    parts: list[str] = []
    spans: list[tuple[int, int, str]] = []
    length = 0
    for literal, field, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        length += len(literal)
        if field is None:
            continue
        value = values[field]
        text = value.text if isinstance(value, Planted) else value
        if isinstance(value, Planted):
            spans.append((length, length + len(text), value.type))
        parts.append(text)
        length += len(text)
    return PlantedText(text="".join(parts), spans=tuple(spans))
