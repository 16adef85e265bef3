"""The split of cases: by the combination of facts a question puts together, so that all tasks agree on it.

Combinations seen in the corpus's patient records are reserved for training, whatever their fraction.
"""

from collections.abc import Collection

from components.cases.case import Split
from components.lineage import stable_fraction


def split_of(
    combination: str, *, validation_share: float, test_share: float, seed: int, reserved: Collection[str] = frozenset()
) -> Split:
    """Return the split a combination belongs to.

    Args:
        combination: `disease|what|facts`, the facts sorted, written by `combination_of`.
        validation_share, test_share: shares of combinations, 0 to 1.
        seed: of the run; another seed is another split.
        reserved: combinations that are always training's.
    """
    if combination in reserved:
        return "train"
    fraction = stable_fraction("split", str(seed), combination)
    if fraction < test_share:
        return "test"
    return "validation" if fraction < test_share + validation_share else "train"


def combination_of(subject: str, what: str, *facts: str) -> str:
    """Write a combination: the same facts in any order give the same text."""
    return "|".join((subject, what, "+".join(sorted(facts))))
