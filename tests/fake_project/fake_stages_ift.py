"""Stage ift of the fake project."""

from fake_stages import ift as run

__all__ = ["run"]
