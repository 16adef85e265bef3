"""Taking turns: items ordered so that kinds alternate, whatever share of the whole each kind has."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def in_turns(items: Sequence[Item], by: Callable[[Item], Any], *within: Callable[[Item], Any]) -> list[Item]:
    """Return all items, one of each value of `by` after another, values sorted; each value's own items ordered so by the next key."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    queues = [in_turns(group, *within) if within else group for _, group in sorted(groups.items(), key=lambda entry: entry[0])]
    return [queue[depth] for depth in range(max(map(len, queues), default=0)) for queue in queues if depth < len(queue)]
