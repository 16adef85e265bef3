"""Stage sources of the fake project."""

from fake_stages import sources as run

__all__ = ["run"]
