"""Reading the answer out of a model's text: the part after the think block, its last JSON object, its items.

Extracting an answer decides the score: the reader is tolerant of what stands around the answer and strict about the
answer itself. It abstains (None) rather than guess. Never raises, whatever the text; never evaluates it.
"""

import json
import re
from typing import Any

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
MAXIMUM_CHARACTERS = 20_000
_DECODER = json.JSONDecoder(strict=False)
_SPACES = re.compile(r"\s+")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def split_reasoning(text: str) -> tuple[str | None, str]:
    """Split a text into its reasoning and its final answer.

    Returns:
        (reasoning, final): reasoning is what stands between the first `<think>` and the last `</think>`, or None where
        no block is closed; final is what follows the last `</think>`, or the whole text where there is none.
    """
    before, closing, final = text.rpartition(THINK_CLOSE)
    if not closing:
        return None, text.strip()
    return before.split(THINK_OPEN, 1)[-1].strip(), final.strip()


def last_object(text: str) -> dict[str, Any] | None:
    """Return the last complete JSON object of a text, or None where there is none."""
    text = text[-MAXIMUM_CHARACTERS:]
    found: dict[str, Any] | None = None
    position = text.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(value, dict):
                found = value
        position = text.find("{", end)
    return found


def last_field(text: str, name: str) -> Any:
    """Return a field of the text's last JSON object; else of broken JSON, the field's last quoted value; else None."""
    value = last_object(text)
    if value is not None:
        return value.get(name)
    quoted = re.findall(rf'"{re.escape(name)}"\s*:\s*"([^"\n]*)"', text[-MAXIMUM_CHARACTERS:])
    return quoted[-1] if quoted else None


def normalised(text: str) -> str:
    """Return a text for comparison: lower case, single spaces, no quotes or full stop around it."""
    return _SPACES.sub(" ", text).strip(" \t\n.\"'`*").casefold()


def listed_items(text: str) -> list[str]:
    """Return the items of a list, normalised, each once: separated by semicolons or line breaks, else by commas.

    "and" does not separate, for it stands inside names ("urea and electrolytes").
    """
    parts = re.split(r"[;\n]" if re.search(r"[;\n]", text.strip()) else ",", text)
    items = (normalised(_BULLET.sub("", part)) for part in parts)
    return list(dict.fromkeys(item for item in items if item))


def strings_of(value: Any) -> list[str] | None:
    """Return a JSON value as a list of normalised strings (a bare string is a list of one), or None if it is neither."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return list(dict.fromkeys(item for item in map(normalised, value) if item))


def mentions(text: str, phrase: str) -> bool:
    """Say whether a phrase stands in a text as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(phrase.casefold())}(?!\w)", text.casefold()) is not None
