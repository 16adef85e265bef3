"""From the options of `quarkmed retrain` to what is asked of the run: the same request as the Prefect page's form makes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.errors import SettingsError
from components.settings.settings import load_settings
from flows.retrain_request import RetrainRequest
from flows.run_command import Asked

PROMOTE = ("never", "ask", "auto")


def asked_of(root: Path, choices: Mapping[str, Any], *, dry_run: bool, budget_gpu_hours: float, promote: str | None) -> Asked:
    """Return what the options ask for; in a workspace of its own where any of `choices` is given.

    Args:
        choices: profile, revision, data_revision, from_stage, overrides, as far as given.
        promote: of `system.promote` where None.
    Raises:
        SettingsError: an option has a value that is none of its own.
    """
    if promote is not None and promote not in PROMOTE:
        raise SettingsError(f"--promote: {promote!r} is none; {', '.join(PROMOTE)}")
    if not choices:
        return Asked(promote=promote, budget_gpu_hours=budget_gpu_hours)
    decided = promote or load_settings(root / "params.yaml").system.promote
    try:
        return Asked(elsewhere=RetrainRequest.model_validate({**choices, "dry_run": dry_run, "budget_gpu_hours": budget_gpu_hours, "promote": decided}))
    except ValidationError as error:
        lines = [f"--{_option(str(problem['loc'][0]))}: {problem['msg']} (found {problem['input']!r})" for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _option(field: str) -> str:
    return "set" if field == "overrides" else field.replace("_", "-")
