"""Samples of an earlier tuning mixed into a later one (sft, cold_start), so that it keeps what was taught before."""

from collections.abc import Callable, Sequence

from components.conversations import Sample
from components.lineage import stable_fraction
from components.turns import in_turns


def draw_replay(
    samples: Sequence[Sample], *, others: int, share: float, seed: int, kinds: Callable[[Sample], str] = lambda sample: ""
) -> list[Sample]:
    """Draw as many samples as make `share` of the whole with `others` other samples: kinds take turns, and tasks within a kind.

    The draw depends on ids and seed alone, not on the order of the samples.

    Args:
        kinds: the kind of a sample, such as its suite; all alike where absent.
    """
    wanted = round(others * share / (1.0 - share))
    shuffled = sorted(samples, key=lambda sample: stable_fraction(str(seed), "replay", sample.id))
    return in_turns(shuffled, kinds, lambda sample: sample.task)[:wanted]
