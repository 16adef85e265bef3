"""The learning rate of each step: linear warm-up, then a cosine, a line or a constant (arXiv:1608.03983 without restarts)."""

import math

from components.settings.training import OptimiserSettings


def learning_rate(step: int, *, steps: int, settings: OptimiserSettings) -> float:
    """Return the learning rate of a step.

    Warm-up: rate · (step + 1) / warmup_steps. After it, with progress p from 0 to 1 and final share f:
    cosine f + (1 − f)(1 + cos πp)/2, linear 1 − (1 − f)p, constant 1, each times the rate.

    Args:
        step: optimiser step, from 0.
        steps: steps of the whole run.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps - 1)
    progress = min(progress, 1.0)
    if settings.schedule == "cosine":
        share = settings.final_share + (1 - settings.final_share) * (1 + math.cos(math.pi * progress)) / 2
    elif settings.schedule == "linear":
        share = 1 - (1 - settings.final_share) * progress
    else:
        share = 1.0
    return settings.learning_rate * share
