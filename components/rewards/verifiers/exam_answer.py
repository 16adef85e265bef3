"""Examination questions: the option's text, exactly; several options as a set.

At laptop scale choosing a letter stays at chance, so answers name the option's text; a letter is read too where the
reference gives `letters`, for question sets that have them.
"""

from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import last_field, last_object, mentions, normalised, split_reasoning, strings_of
from components.rewards.choice_reading import read_choice
from components.rewards.verdict import Verdict, abstained


def exam_answer(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade an exam answer.

    Args:
        text: ends with `{"answer": "option text"}` or, for several right options, a list of texts.
        reference: `answer`: list of the right options' texts; `options`: all options' texts; or `letters`: letter →
            option text, with `answer` the right letter alone.
    """
    if "letters" in reference:
        letter = read_choice(text, reference["letters"])
        return abstained("no option named") if letter is None else _verdict({letter} == set(reference["answer"]))
    _, final = split_reasoning(text)
    options = {normalised(option) for option in reference["options"]}
    chosen = read_options(final, options)
    if not chosen:
        return abstained("no option named")
    return _verdict(chosen == {normalised(option) for option in reference["answer"]})


def read_options(final: str, options: set[str]) -> set[str] | None:
    """Return the options a final answer names (normalised), or None where something else or nothing is named."""
    value = last_field(final, "answer")
    if value is None:
        if last_object(final) is not None:
            return None
        value = final
    named = strings_of(value)
    if not named:
        return None
    if set(named) <= options:
        return set(named)
    if len(named) > 1:
        return None
    contained = {option for option in options if mentions(named[0], option)}
    longest = {option for option in contained if not any(option != other and mentions(other, option) for other in contained)}
    return longest if len(longest) == 1 else None


def _verdict(is_right: bool) -> Verdict:
    return Verdict(1.0, "right option") if is_right else Verdict(0.0, "another option")
