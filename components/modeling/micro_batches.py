"""A step's batch cut into forward passes: by a token budget, never inside an item (a conversation, a group, a prompt's pairs)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def cut_by_tokens(items: Sequence[Item], *, tokens: Callable[[Item], int], micro_tokens: int) -> list[list[Item]]:
    """Cut items, in order, into lists of at most `micro_tokens` tokens, one item each at least."""
    parts: list[list[Item]] = []
    filled = 0
    for item in items:
        size = tokens(item)
        if not parts or filled + size > micro_tokens:
            parts.append([])
            filled = 0
        parts[-1].append(item)
        filled += size
    return parts
