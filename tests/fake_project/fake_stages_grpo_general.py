"""Stage grpo_general of the fake project."""

from fake_stages import grpo_general as run

__all__ = ["run"]
