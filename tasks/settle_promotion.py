"""The Prefect tasks after the last stage: register the candidate, run the gate, settle the promotion."""

from dataclasses import asdict
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from components import layout
from components.pipeline.running import model_records, work_folder
from components.pipeline.stage_key import stage_inputs, stage_key
from components.registry.decision import CANDIDATE, champion_reference
from components.storage.artifact_store import read_reference
from components.tracking.replay import StageReport
from tasks.session import RetrainSession


@task(name="register", cache_policy=NO_CACHE, persist_result=False)
def register(session: RetrainSession, lineage: dict[str, str]) -> dict[str, Any]:
    """Register the candidate in the model registry and point `challenger` at it."""
    report = asdict(_candidate_report(session))
    registered: dict[str, Any] = session.track(
        "components.registry.decision:register_candidate", root=str(session.root), run=session.run, report=report, tags=lineage
    )
    for sentence in registered["said"]:
        session.events.note(sentence)
    return registered


@task(name="gate", cache_policy=NO_CACHE, persist_result=False)
def gate(session: RetrainSession) -> dict[str, Any]:
    """Compare the candidate with the champion; {"verdict": None} where they are the same model."""
    champion = champion_reference(session.root)
    candidate = read_reference(session.root / layout.MODELS[CANDIDATE])
    results = None
    if champion is not None:
        if champion[1].digest == candidate.digest:
            return {"verdict": None, "expected_champion": champion[0]}
        session.events.phase("scoring the champion on the present test items")
        results = session.launcher.function_call(
            "components.pipeline.champion_scoring:score_champion", root=str(session.root), reference=champion[1].model_dump()
        )
    session.events.phase("running the gate")
    verdict = session.launcher.function_call("components.registry.decision:judge_candidate", root=str(session.root), champion_results=results)
    return {"verdict": verdict, "expected_champion": champion[0] if champion else None}


@task(name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote(session: RetrainSession, registered: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
    """Write the decision to the journal and set the aliases."""
    decision: dict[str, Any] = session.track(
        "components.registry.decision:settle_decision", root=str(session.root), run=session.run, registered=registered, **judged,
        may_promote=session.settings.system.promote == "auto",
    )  # fmt: skip
    return decision


def _candidate_report(session: RetrainSession) -> StageReport:
    """Return what is known of the stage that made the candidate; enough to find its MLflow run or to make one."""
    row = session.workspace.graph.row(CANDIDATE)
    inputs = stage_inputs(session.root, row, session.settings)
    key = stage_key(inputs)
    references = model_records(session.root, row, session.settings)
    folder = work_folder(session.root, CANDIDATE, key)
    folder.mkdir(parents=True, exist_ok=True)
    return StageReport(name=CANDIDATE, key=key, folder=str(folder), parameters=inputs["parameters"], models=references)
