"""A stage once more after its memory was exhausted: the same step, cut into passes of fewer tokens.

`micro_tokens` only says how a step's batch is cut into forward passes, whose gradients are summed: the mathematics is the
same, the last bits of the sums are not. So the stage's key stays what it was, made from the parameters that were asked
for, the attempt goes on from the same checkpoints, and its record says in a warning what was done.

Does not help where the memory goes elsewhere: weights and optimiser state, the sampler's cache, one item longer than a pass.
"""

from typing import Any

from pydantic import BaseModel

from components.settings.settings import Settings

FIELD = "micro_tokens"
FEWEST = 64  # what the settings allow


def smaller_passes(settings: Settings, divisor: int) -> Settings:
    """Return the settings with every `micro_tokens` divided, at least `FEWEST`; the same object where the divisor is 1."""
    if divisor == 1:
        return settings
    smaller: Settings = _divided(settings, divisor)
    return smaller


def what_was_done(divisor: int) -> str:
    """Return the warning for the stage's record."""
    return f"memory was exhausted before: this attempt cut each step into passes of micro_tokens / {divisor}; same mathematics, other last bits; lower micro_tokens in params.yaml"


def _divided(section: Any, divisor: int) -> Any:
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            inner = _divided(value, divisor)
            if inner is not value:
                changed[name] = inner
        elif name == FIELD:
            changed[name] = max(FEWEST, value // divisor)
    return section.model_copy(update=changed) if changed else section
