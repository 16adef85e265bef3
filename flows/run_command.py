"""`quarkmed retrain` from the outside: ask first, start what is needed, run the flow under the display, report.

With nothing to do it asks DVC and the promotion journal, starts no service and says so.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from components.errors import Preempted
from components.pipeline.events import RunEvents
from components.pipeline.running import STAGE_TABLE
from components.settings.settings import Settings, load_settings
from flows.display import LiveDisplay
from flows.retention import sweep_runs
from flows.run_folder import new_run_id, point_latest, run_folder, workspace_lock
from flows.run_states import end_killed_runs


def run_retrain(root: Path, *, console: Console, stage_table: str = STAGE_TABLE, profile: str = "laptop") -> None:
    """Bring everything up to date, or say that it is.

    Raises:
        QuarkmedError: bad input, a stage's failure, another run at work here, or Preempted on SIGTERM.
    """
    started = time.time()
    settings = load_settings(root / "params.yaml")
    with workspace_lock(root):
        signal.signal(signal.SIGTERM, _stop)
        _say_killed_runs(console, root)
        decided = nothing_to_do(root, settings)
        if decided is not None:
            _say_nothing_to_do(console, root, decided, seconds=time.time() - started)
            return
        run = new_run_id(started)
        _run_flow(root, run, settings, console=console, stage_table=stage_table, profile=profile)
        _report(root, run, console=console, profile=profile, started=started)
        sweep_runs(root, settings.system)


def nothing_to_do(root: Path, settings: Settings) -> dict[str, Any] | None:
    """Return the standing decision where no stage is stale, the promotion is settled and MLflow has every record."""
    from components import layout
    from components.pipeline.plan import is_settled, make_plan
    from components.pipeline.workspace import Workspace

    if not is_settled(make_plan(Workspace(root, settings))):
        return None
    from components.tracking.unreplayed import unreplayed_reports

    if unreplayed_reports(root) or not (root / layout.RESULTS).is_file():
        return None
    from components.registry.decision import describe_decision, settled_decision

    entry = settled_decision(root)
    return None if entry is None else describe_decision(entry)


def _run_flow(root: Path, run: str, settings: Settings, *, console: Console, stage_table: str, profile: str) -> None:
    from components.launch.failures import classify_failure
    from components.launch.stage_launcher import StageLauncher
    from flows.services import is_healthy, prefect_service, start_service, wait_until_healthy

    service = prefect_service(root, settings.system)
    os.environ.update(service.environment)
    folder = run_folder(root, run)
    started_here = start_service(root, service, is_kept=False)
    launcher = StageLauncher(root, threads=settings.run.threads, log=folder / "logs" / "stages.log", table=stage_table, grace_seconds=settings.system.grace_seconds)
    events, outcome, cause = RunEvents(folder), "failed", ""
    try:
        with LiveDisplay(folder, console=console):
            events.phase("starting the Prefect server")
            launcher.warm_up()
            if started_here or not is_healthy(service):
                wait_until_healthy(root, service)
            _call_flow(root, run, launcher, profile=profile)
            outcome = "finished"
    except BaseException as error:
        outcome = "stopped" if isinstance(error, (KeyboardInterrupt, Preempted)) else "failed"
        cause = str(classify_failure(error)) if isinstance(error, Exception) else type(error).__name__
        raise
    finally:
        events.end(outcome, cause=cause)
        launcher.close()
        if started_here or _is_for_one_run(root, service):
            _stop_server(root, service)


def _call_flow(root: Path, run: str, launcher: Any, *, profile: str) -> None:
    """Import Prefect (its server is named in the environment by now) and run the flow in this process."""
    from prefect.exceptions import TerminationSignal

    from flows.prefect_client import mark_lost_runs
    from flows.retrain import retrain_in_place
    from tasks.session import open_session

    mark_lost_runs()
    try:
        retrain_in_place(open_session(root, run, launcher))(run=run, profile=profile)
    except TerminationSignal:
        raise Preempted("told to stop; run `quarkmed retrain` to go on from the last checkpoint") from None


def _stop_server(root: Path, service: Any) -> None:
    from flows.services import stop_service

    if "prefect" in sys.modules:
        from flows.prefect_client import flush_prefect

        flush_prefect()
    stop_service(root, service)


def _is_for_one_run(root: Path, service: Any) -> bool:
    """Say whether the server is one a killed run left behind, which nobody asked to keep."""
    from flows.services import running

    found = running(root, service)
    return found is not None and not found.is_kept


def _report(root: Path, run: str, *, console: Console, profile: str, started: float) -> None:
    from components.pipeline.events import read_events
    from components.pipeline.run_reference import head_commit, keep_run
    from components.pipeline.workspace import Workspace
    from flows.end_report import print_report
    from flows.summary import write_summary

    folder = run_folder(root, run)
    events = read_events(folder)
    digests = Workspace(root, load_settings(root / "params.yaml")).data_digests()
    git_sha = head_commit(root)
    keep_run(root, run, message=f"quarkmed run {run}")
    summary = write_summary(root, folder, git_sha=git_sha, profile=profile, wall_seconds=time.time() - started, data=digests)
    point_latest(root, run)
    print_report(console, root, summary, notes=[event["text"] for event in events if event["kind"] == "note"])


def _say_killed_runs(console: Console, root: Path) -> None:
    """Close the runs that were killed, and say so."""
    for state in end_killed_runs(root):
        console.print(f"note: run {state.run} was killed{f' in stage {state.stage}' if state.stage else ''}; this one goes on from what it saved", highlight=False)


def _say_nothing_to_do(console: Console, root: Path, decided: dict[str, Any], *, seconds: float) -> None:
    from flows.end_report import print_where_to_look

    console.print(
        f"Nothing to do ({seconds:.1f} s): no stage is stale, and the promotion is settled: {decided['model']} version {decided['version']} was {decided['decision']}.",
        highlight=False,
    )
    for reason in decided["reasons"]:
        console.print(f"  - {reason}", highlight=False)
    print_where_to_look(console, root)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Preempted("told to stop; run `quarkmed retrain` to go on from the last checkpoint")
