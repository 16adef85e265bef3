"""Rewards for the dose questions of prompts.jsonl, 0 to 1: the right quantity, and nothing else than a quantity."""

import re

QUANTITY = re.compile(r"\d+(?:\.\d+)? [a-z]+")


def correct(completions: list[str], answer: list[str], **columns: list) -> list[float]:
    """1 where the answer's last quantity is the one asked for."""
    found = [QUANTITY.findall(text) for text in completions]
    return [float(bool(quantities) and quantities[-1] == gold) for quantities, gold in zip(found, answer, strict=True)]


def brief(completions: list[str], **columns: list) -> list[float]:
    """1 where the answer is a quantity alone, less with every further word."""
    return [1.0 / (1 + len(QUANTITY.sub("", text).split()) + abs(len(QUANTITY.findall(text)) - 1)) for text in completions]
