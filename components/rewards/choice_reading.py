"""Which option of a multiple-choice question a text names: by letter, or by the option's own words.

Layers, after `medical.md`: the answer field of the last JSON object after any think block; a letter only where a
non-letter follows and what follows is not the start of a sentence; option text only where it is unique; else None.
Never a default letter, never the nearest string, never the first of several that disagree.
"""

import re
from collections.abc import Mapping

from components.rewards.answer_parsing import last_field, last_object, mentions, normalised, split_reasoning

FIELDS = ("answer_choice", "answer", "choice")
_LEAD = re.compile(r"^[\s\"'(\[*]*(?:(?:option|choice|answer)\s*[:\-]?\s*)?[\s\"'(\[*]*([A-Z])(?![A-Za-z])(.*)$", re.IGNORECASE | re.DOTALL)
_STATED = re.compile(
    r"\b(?:answer|choice|option)(?:\s+choice)?\s*(?:is|:|=)?\s*(?:option\s+)?[\"'(\[*]*([A-Z])(?![A-Za-z'])(?=[\s.,;:)\]\"'*]|$)",
)


def read_choice(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the option a text names, or None where it names none or several.

    Args:
        text: a model's raw output.
        options: letter → option text; empty texts are fillers and never match.
    """
    _, final = split_reasoning(text)
    values = [value for value in (last_field(final, field) for field in FIELDS) if value is not None]
    if values:
        value = values[0][0] if isinstance(values[0], list) and len(values[0]) == 1 else values[0]
        return _from_value(value, options) if isinstance(value, str) else None
    if last_object(final) is not None:
        return None
    if len(final) <= 200 and (letter := _from_value(final, options)):
        return letter
    stated = {match.upper() for match in _STATED.findall(final)} & set(options)
    return stated.pop() if len(stated) == 1 else None


def _from_value(value: str, options: Mapping[str, str]) -> str | None:
    by_text = _by_text(value, options)
    match = _LEAD.match(value)
    letter = match.group(1).upper() if match else None
    if match is None or letter not in options:
        return by_text
    rest = normalised(match.group(2).lstrip(" .):]*,-\"'"))
    is_marked = match.group(2)[:1] in ("", ".", ")", ":", "]", "*", ",", '"')
    is_own_text = bool(rest) and bool(options[letter]) and (rest in normalised(options[letter]) or normalised(options[letter]) in rest)
    if rest and not is_marked and not is_own_text:
        return by_text
    if by_text is not None and by_text != letter and not is_own_text:
        return None
    return letter


def _by_text(value: str, options: Mapping[str, str]) -> str | None:
    exact = [letter for letter, option in options.items() if option and normalised(option) == normalised(value)]
    if exact:
        return exact[0] if len(exact) == 1 else None
    named = [letter for letter, option in options.items() if option and mentions(value, normalised(option))]
    return named[0] if len(named) == 1 else None
