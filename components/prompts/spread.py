"""General prompts by the spread of reward-model scores over the model's own answers: no spread, no gradient.

Each reward is standardised over all answers before the mean, so that no model's scale decides.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def reward_spreads(rewards: Mapping[str, Sequence[Sequence[float]]]) -> list[float]:
    """Return each prompt's standard deviation of the mean standardised reward over its answers.

    Args:
        rewards: reward model → (prompts, answers) raw scores; the same shape for every model.
    """
    tables = [np.asarray(table, dtype=np.float64) for _, table in sorted(rewards.items())]
    standardised = [(table - table.mean()) / max(float(table.std()), 1e-8) for table in tables]
    spreads: list[float] = np.mean(standardised, axis=0).std(axis=1).tolist()
    return spreads
