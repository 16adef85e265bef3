"""A run's events as lines of its log in the Prefect page, as they happen; bars and tables are written more rarely."""

import logging
from collections.abc import Mapping
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from components.pipeline.events import RunEvents, outcome_of, planned_actions

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
WITH_REASON = ("running", "failed", "stopped")


def show_in_page(events: RunEvents) -> None:
    """Write every event from now on to the log of the flow run that calls this; outside of one, nowhere."""
    try:
        logger = get_run_logger()
    except MissingContextError:
        return

    def show(entry: Mapping[str, Any]) -> None:
        level, line = page_line(entry)
        logger.log(level, line)

    events.listen(show)


def page_line(entry: Mapping[str, Any]) -> tuple[int, str]:
    """Return (logging's level, sentence) of an event."""
    kind, (how, grave) = entry["kind"], outcome_of(entry)
    level = LEVELS[grave]
    if kind == "stage":
        seconds = f", {entry['seconds']:.0f} s" if entry["seconds"] else ""
        return level, f"{entry['name']}: {how}{seconds}{': ' + entry['reason'] if how in WITH_REASON and entry['reason'] else ''}"
    if kind == "end":
        return level, f"run {how}{': ' + entry['cause'] if entry['cause'] else ''}"
    if kind == "plan":
        return level, "plan: " + ", ".join(f"{count} {action}" for action, count in planned_actions(entry).items())
    if kind == "decision":
        return level, f"version {entry.get('version')}: {entry.get('decision')}"
    return level, str(entry.get("text", kind))
