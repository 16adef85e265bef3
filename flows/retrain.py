"""The flow `retrain`: raw data → promoted model. It reads as the story; every decision is a component's.

    quarkmed retrain

Stages run in the order of dvc.yaml, each asked of DVC first; then the candidate is registered, judged and, where the
gate lets it, promoted. Nothing is cached by Prefect: a run that is killed goes on by asking DVC again.
"""

import time
from pathlib import Path
from typing import Any

from prefect import Flow, flow

from components.launch.stage_launcher import StageLauncher
from components.pipeline.plan import make_plan
from components.pipeline.run_reference import head_commit, is_dirty
from components.settings.settings import load_settings
from flows.run_folder import new_run_id, workspace_lock
from tasks.publish_pages import publish_plan, publish_result
from tasks.run_stage import run_stage
from tasks.session import RUNS, RetrainSession, open_session
from tasks.settle_promotion import gate, promote, register


@flow(name="retrain", persist_result=False, retries=0)
def retrain(profile: str = "laptop") -> str:
    """Bring every stage up to date in the present folder and settle the promotion; return what was decided.

    This is what a deployment calls (infra/prefect.yaml); the command line runs `retrain_in_place`.

    Args:
        profile: name shown in tags; the values stand in params.yaml.
    """
    root, run = Path.cwd(), new_run_id(time.time())
    settings = load_settings(root / "params.yaml")
    launcher = StageLauncher(root, threads=settings.run.threads, log=root / RUNS / run / "logs" / "stages.log", grace_seconds=settings.system.grace_seconds)
    with workspace_lock(root):
        return bring_up_to_date(open_session(root, run, launcher), profile=profile)


def retrain_in_place(session: RetrainSession) -> "Flow[..., str]":
    """Return the same flow over a session that is open already, its stage process warming up while the server starts."""

    @flow(name="retrain", flow_run_name="{run}", persist_result=False, retries=0)
    def retrain(run: str, profile: str = "laptop") -> str:
        return bring_up_to_date(session, profile=profile)

    return retrain


def bring_up_to_date(session: RetrainSession, *, profile: str) -> str:
    """Run what is stale, then settle the promotion; the session is closed however it ends."""
    root = session.root
    lineage = {"run": session.run, "profile": profile, "git_sha": head_commit(root) or "none", "git_dirty": str(is_dirty(root)).lower()}
    try:
        session.start(tags={f"quarkmed.{name}": value for name, value in lineage.items() if name != "run"})
        plan = make_plan(session.workspace)
        session.events.plan(plan)
        publish_plan(plan)
        for name in session.workspace.graph.names:
            run_stage(session, name)
        decision = settle(session, lineage)
        publish_result(session.events.folder, decision)
        return str(decision["decision"])
    finally:
        session.close()


def settle(session: RetrainSession, lineage: dict[str, str]) -> dict[str, Any]:
    """Register the candidate, run the gate, settle the promotion, and close the run in MLflow."""
    session.events.phase("registering the model")
    registered = register(session, {**lineage, **session.workspace.data_digests()})
    judged = gate(session)
    decision = promote(session, registered, judged)
    (session.events.folder / "model_card.md").write_text(decision.pop("card"), encoding="utf-8")
    session.events.decision({**decision, "verdict": judged["verdict"]})
    session.track(
        "components.tracking.replay:end_run", root=str(session.root), run=session.run, status="FINISHED", metrics={},
        tags={"quarkmed.decision": decision["decision"], "quarkmed.version": decision["version"]},
        files=[str(session.events.folder / name) for name in ("model_card.md", "events.jsonl")],
    )  # fmt: skip
    return decision
