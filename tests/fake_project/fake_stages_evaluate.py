"""Stage evaluate of the fake project."""

from fake_stages import evaluate as run

__all__ = ["run"]
