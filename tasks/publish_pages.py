"""What a run leaves in the Prefect page: the plan before it starts, and how each stage ended with the decision.

A page that cannot be written never stops a run: the same stands in runs/<id>/events.jsonl.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from components.pipeline.events import read_events, stage_endings
from components.pipeline.plan import PlannedStage


def publish_plan(plan: list[PlannedStage]) -> None:
    """Show the plan as a table artifact."""
    rows = [{"stage": item.name, "would": item.action, "last seconds": item.last_seconds, "why": "; ".join(item.reasons)} for item in plan]
    with contextlib.suppress(Exception):
        create_table_artifact(table=rows, key="plan", description="what this run is going to do")


def publish_result(folder: Path, decision: Mapping[str, Any]) -> None:
    """Show how each stage ended, and the promotion decision with its reasons."""
    stages = stage_endings(read_events(folder))
    rows = [{"stage": item["name"], "how": item["status"], "seconds": item["seconds"], "why": item["reason"]} for item in stages]
    text = f"**{decision['model']} version {decision['version']}: {decision['decision']}**\n\n" + "\n".join(f"- {reason}" for reason in decision["reasons"])
    with contextlib.suppress(Exception):
        create_table_artifact(table=rows, key="result", description="how each stage ended")
        create_markdown_artifact(markdown=text, key="decision", description="the promotion decision")
