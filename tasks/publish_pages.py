"""What a run leaves in the Prefect page: the plan before it starts, links to MLflow, how each stage ended, the decision.

A page that cannot be written never stops a run: the same stands in runs/<id>/events.jsonl.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from components.pipeline.events import read_events, stage_endings
from components.pipeline.plan import PlannedStage


def publish_plan(plan: list[PlannedStage]) -> None:
    """Show the plan as a table artifact."""
    rows = [{"stage": item.name, "would": item.action, "last seconds": item.last_seconds, "why": "; ".join(item.reasons)} for item in plan]
    with contextlib.suppress(Exception):
        create_table_artifact(table=rows, key="plan", description="what this run is going to do")


def publish_stages(folder: Path) -> None:
    """Show how each stage that came up so far ended, or stands."""
    stages = stage_endings(read_events(folder))
    rows = [{"stage": item["name"], "how": item["status"], "seconds": item["seconds"], "why": item["reason"]} for item in stages]
    with contextlib.suppress(Exception):
        create_table_artifact(table=rows, key="result", description="how each stage ended")


def publish_decision(decision: Mapping[str, Any]) -> None:
    """Show the promotion decision with its reasons."""
    text = f"**{decision['model']} version {decision['version']}: {decision['decision']}**\n\n" + "\n".join(f"- {reason}" for reason in decision["reasons"])
    with contextlib.suppress(Exception):
        create_markdown_artifact(markdown=text, key="decision", description="the promotion decision")


def publish_mlflow_links(address: str, *, experiment: str, run: str, model: str, version: str) -> None:
    """Lead to the run's and the registered version's page in MLflow.

    Args:
        address: of MLflow's server, without a slash at its end.
        experiment, run: MLflow's ids.
    """
    with contextlib.suppress(Exception):
        create_link_artifact(link=f"{address}/#/experiments/{experiment}/runs/{run}", link_text="this run in MLflow: metrics, reports, stages", key="mlflow-run", description="metrics, reports and stages in MLflow")
        create_link_artifact(link=f"{address}/#/models/{model}/versions/{version}", link_text=f"{model} version {version} in the registry", key="mlflow-version", description=f"{model} version {version} in the registry")
