"""The flow `retrain`: raw data → promoted model. It reads as the story; every decision is a component's.

    quarkmed retrain

Stages run in the order of dvc.yaml, each asked of DVC first; then the candidate is registered, judged and, where the
gate lets it, promoted. Nothing is cached by Prefect: a run that is killed goes on by asking DVC again.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Flow, flow

from components.pipeline.plan import make_plan
from components.pipeline.restoring import restore_ahead
from components.pipeline.run_reference import head_commit, is_dirty
from components.pipeline.running import STAGE_TABLE
from flows.retrain_request import RetrainRequest
from flows.run_folder import settling
from tasks.ask_for_promotion import ask_for_promotion
from tasks.page_log import show_in_page
from tasks.progress_page import progress_page
from tasks.publish_pages import publish_decision, publish_mlflow_links, publish_plan, publish_stages
from tasks.run_stage import run_stage
from tasks.session import RetrainSession
from tasks.settle_promotion import gate, promote, register
from tasks.stage_advance import restore_stage


@flow(name="retrain", persist_result=False, retries=0)
def retrain(request: RetrainRequest = RetrainRequest()) -> str:
    """Bring every stage up to date in a workspace of the run's own and settle the promotion; return what was decided.

    This is what the deployment calls (infra/prefect.yaml), in the project's folder; the command line runs
    `retrain_in_place` in the folder itself.
    """
    from flows.retrain_elsewhere import retrain_elsewhere

    return retrain_elsewhere(Path.cwd(), request, table=STAGE_TABLE)


def retrain_in_place(session: RetrainSession, *, is_new_workspace: bool = False) -> "Flow[..., str]":
    """Return the same flow over a session that is open already, its stage process warming up while the server starts."""

    @flow(name="retrain", flow_run_name="{run}", persist_result=False, retries=0)
    def retrain(run: str, profile: str = "laptop") -> str:
        return bring_up_to_date(session, profile=profile, is_new_workspace=is_new_workspace)

    return retrain


def bring_up_to_date(session: RetrainSession, *, profile: str, is_new_workspace: bool = False) -> str:
    """Run what is stale, then settle the promotion; the session is closed however it ends.

    Args:
        profile: name shown in tags; the values stand in params.yaml.
        is_new_workspace: nothing lies there yet, so that what the run cache holds is restored before the plan is made.
    """
    root = session.root
    lineage = {"run": session.run, "profile": profile, "git_sha": head_commit(root) or "none", "git_dirty": str(is_dirty(root)).lower()}
    show_in_page(session.events)
    try:
        session.start(tags={f"quarkmed.{name}": value for name, value in lineage.items() if name != "run"})
        if is_new_workspace:
            session.events.phase("restoring what was made before")
            restore_ahead(session.workspace, but=session.anew, restore=partial(restore_stage, session))
        plan = make_plan(session.workspace, anew=frozenset(name for name in session.anew if session.is_due_anew(name)))
        session.events.plan(plan)
        publish_plan(plan)
        with progress_page(session.events.folder):
            for name in session.workspace.graph.names:
                run_stage(session, name)
        decision = settle(session, lineage)
        publish_decision(decision)
        return str(decision["decision"])
    finally:
        publish_stages(session.events.folder)
        session.close()


def settle(session: RetrainSession, lineage: dict[str, str]) -> dict[str, Any]:
    """Register the candidate, run the gate, settle the promotion, and close the run in MLflow; one run of the project at a time."""
    with settling(session.root):
        session.events.phase("registering the model")
        registered = register(session, {**lineage, "data": json.dumps(session.workspace.data_digests())})
        judged = gate(session)
        decision = promote(session, registered, judged)
    (session.events.folder / "model_card.md").write_text(decision.pop("card"), encoding="utf-8")
    session.events.decision({**decision, "verdict": judged["verdict"]})
    if decision["decision"] == "held" and session.settings.system.promote == "ask":
        session.events.note(ask_for_promotion(decision))
    session.track(
        "components.tracking.replay:end_run", root=str(session.root), run=session.run, status="FINISHED", metrics={},
        tags={"quarkmed.decision": decision["decision"], "quarkmed.version": decision["version"]},
        files=[str(session.events.folder / name) for name in ("model_card.md", "events.jsonl")],
    )  # fmt: skip
    link_to_mlflow(session, decision)
    return decision


def link_to_mlflow(session: RetrainSession, decision: dict[str, Any]) -> None:
    """Leave links to the run and the version: on the team's server where one is named, else on this machine's."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = named.rstrip("/") if named.startswith("http") else f"http://127.0.0.1:{session.settings.system.mlflow_port}"
    page = session.track("components.tracking.run_pages:run_page", root=str(session.root), run=session.run)
    publish_mlflow_links(address, **page, model=decision["model"], version=decision["version"])
