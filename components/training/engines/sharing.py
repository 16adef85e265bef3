"""Who does which part of an optimiser step: items shared by tokens, then cut into passes.

Every rank plans the shares of all ranks alike, from the same items, so nothing has to be asked. Where parameters are
sharded, a pass is a collective: ranks with fewer passes run idle ones, whose loss counts nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Cut = Callable[[Sequence[Item]], list[list[Item]]]


@dataclass(frozen=True)
class Pass(Generic[Item]):
    """Items of one forward and backward pass; `is_counted` False: run only because the other ranks run one."""

    items: list[Item]
    is_counted: bool = True


def shares_by_tokens(items: Sequence[Item], *, tokens: Callable[[Item], int], ranks: int) -> list[list[Item]]:
    """Return each rank's items: the largest first, each to the rank with the fewest tokens, kept in their order.

    With one rank, all items as they come.
    """
    filled = [0] * ranks
    owner = [0] * len(items)
    for index in sorted(range(len(items)), key=lambda index: (-tokens(items[index]), index)):
        owner[index] = filled.index(min(filled))
        filled[owner[index]] += tokens(items[index])
    return [[item for item, rank in zip(items, owner, strict=True) if rank == number] for number in range(ranks)]


def planned_passes(
    items: Sequence[Item], *, tokens: Callable[[Item], int], cut: Cut[Item], ranks: int, is_even: bool
) -> list[list[Pass[Item]]]:
    """Return each rank's passes.

    Args:
        cut: cuts a rank's items into passes.
        is_even: give every rank the same number of passes, the missing ones idle on the smallest item.
    """
    passes = [[Pass(part) for part in cut(share)] if share else [] for share in shares_by_tokens(items, tokens=tokens, ranks=ranks)]
    if is_even and items:
        most = max(map(len, passes))
        spare = Pass([min(items, key=tokens)], is_counted=False)
        passes = [[*own, *[spare] * (most - len(own))] for own in passes]
    return passes
