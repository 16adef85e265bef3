"""What tuning by a recipe comes to: final numbers, and the way to write the model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """`summary` holds final numbers; `write` puts model and tokenizer into a folder."""

    summary: dict[str, float]
    write: Callable[[Path], None]
