"""`quarkmed retrain` from the outside: ask first, start what is needed, run the flow under the display, report.

With nothing to do it asks DVC and the promotion journal, starts no service and says so. Options that ask for something
other than what lies in the folder (`Asked.elsewhere`) make it work in a workspace of its own.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from components.errors import Preempted, ServiceError
from components.pipeline.events import RunEvents
from components.pipeline.running import STAGE_TABLE
from components.settings.settings import Settings, load_settings
from flows.display import LiveDisplay
from flows.retention import sweep_runs
from flows.retrain_request import RetrainRequest
from flows.run_folder import new_run_id, run_folder, running_process, workspace_lock
from flows.run_states import end_killed_runs


@dataclass(frozen=True)
class Asked:
    """What the options of the command ask for; nothing by default."""

    elsewhere: RetrainRequest | None = None  # in a workspace of its own
    promote: str | None = None  # as system.promote where None
    budget_gpu_hours: float = 0.0  # as launch.budget_gpu_hours where 0


def run_retrain(root: Path, *, console: Console, stage_table: str = STAGE_TABLE, profile: str = "laptop", asked: Asked | None = None) -> None:
    """Bring everything up to date, or say that it is.

    Raises:
        QuarkmedError: bad input, a stage's failure, another run at work here, or Preempted on SIGTERM.
    """
    started, asked = time.time(), asked or Asked()
    if asked.elsewhere is not None:
        _run_elsewhere(root, asked.elsewhere, console=console, stage_table=stage_table, started=started)
        return
    settings = _settings(root, asked)
    with workspace_lock(root):
        signal.signal(signal.SIGTERM, _stop)
        _say_killed_runs(console, root)
        decided = nothing_to_do(root, settings)
        if decided is not None:
            _say_nothing_to_do(console, root, decided, seconds=time.time() - started)
            return
        place = Place(root, root, new_run_id(started), settings)
        _run_flow(place, console=console, stage_table=stage_table, profile=profile)
        _report(root, place.run, console=console, profile=profile, started=started)
        sweep_runs(root, settings.system)


@dataclass(frozen=True)
class Place:
    """Where a run works: the project that services belong to, and the folder whose stages are brought up to date."""

    project: Path
    folder: Path
    run: str
    settings: Settings
    from_stage: str | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Say whether the run has a workspace of its own."""
        return self.folder != self.project


def _settings(root: Path, asked: Asked) -> Settings:
    values: dict[str, Any] = {"system.promote": asked.promote} if asked.promote else {}
    if asked.budget_gpu_hours:
        values["launch.budget_gpu_hours"] = asked.budget_gpu_hours
    return load_settings(root / "params.yaml", overrides=values)


def _run_elsewhere(root: Path, request: RetrainRequest, *, console: Console, stage_table: str, started: float) -> None:
    """Run, or only plan, in a workspace of the request's own."""
    from components.pipeline.own_workspace import check_out_data
    from components.tracking.unreplayed import unreplayed_reports
    from flows.own_workspaces import own_workspace
    from flows.run_ending import keep_reports

    signal.signal(signal.SIGTERM, _stop)
    with own_workspace(root, request) as own:
        console.print(f"run {own.run} works in a workspace of its own: {own.folder}{' (goes on in it)' if own.is_resumed else ''}", highlight=False)
        check_out_data(own.folder)
        if request.dry_run:
            from flows.looking import print_plan

            print_plan(own.folder, from_stage=request.first_anew, restores=True, console=console)
            return
        _run_flow(Place(root, own.folder, own.run, own.settings, request.first_anew), console=console, stage_table=stage_table, profile=request.profile)
        _report(own.folder, own.run, console=console, profile=request.profile, started=started)
        keep_reports(own.folder, own.run)
        own.is_kept = bool(unreplayed_reports(own.folder))


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


def _run_flow(place: Place, *, console: Console, stage_table: str, profile: str) -> None:
    from components.launch.launcher import open_launcher
    from flows.run_ending import noted_ending
    from flows.service_catalogue import prefect_service
    from flows.services import is_healthy, start_service, wait_until_healthy

    settings = place.settings
    service = prefect_service(place.project, settings.system)
    os.environ.update(service.environment)
    folder = run_folder(place.folder, place.run)
    started_here = start_service(place.project, service, is_kept=False)
    _refuse_another_runs_server(place, service, started_here=started_here)
    launcher, events = open_launcher(place.folder, run=place.run, settings=settings, table=stage_table), RunEvents(folder)
    try:
        with noted_ending(events), LiveDisplay(folder, console=console):
            events.phase("starting the Prefect server")
            launcher.warm_up()
            if started_here or not is_healthy(service):
                wait_until_healthy(place.project, service)
            _call_flow(place, launcher, profile=profile)
    finally:
        launcher.close()
        if started_here or _is_for_one_run(place.project, service):
            _stop_server(place.project, service)


def _call_flow(place: Place, launcher: Any, *, profile: str) -> None:
    """Import Prefect (its server is named in the environment by now) and run the flow in this process."""
    from prefect.exceptions import TerminationSignal

    from flows.prefect_client import mark_lost_runs
    from flows.retrain import retrain_in_place
    from tasks.session import open_session

    mark_lost_runs(but=_at_work(place))
    session = open_session(place.folder, place.run, launcher, settings=place.settings, from_stage=place.from_stage)
    try:
        retrain_in_place(session, is_new_workspace=place.is_elsewhere)(run=place.run, profile=profile)
    except TerminationSignal:
        raise Preempted("told to stop; run `quarkmed retrain` to go on from the last checkpoint") from None


def _at_work(place: Place) -> frozenset[str] | None:
    """Return the runs that other processes are at, or None where one works in the project's folder, whose run has no note."""
    from flows.own_workspaces import is_note_held, workspace_notes

    if place.is_elsewhere and running_process(place.project) is not None:
        return None
    return frozenset(note.run for note in workspace_notes(place.project) if note.run != place.run and is_note_held(place.project, note))


def _refuse_another_runs_server(place: Place, service: Any, *, started_here: bool) -> None:
    """Check that the server is ours or one that stays.

    Raises:
        ServiceError: another run at work started it for itself, and will stop it.
    """
    others = _at_work(place)
    if not started_here and _is_for_one_run(place.project, service) and (others is None or others):
        raise ServiceError("another run is at work with a Prefect server of its own, which ends with it; wait for it, or start one that stays by `quarkmed up`")


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
    from flows.end_report import print_report
    from flows.run_ending import keep_ended_run

    summary = keep_ended_run(root, run, profile=profile, started=started, now=time.time())
    notes = [event["text"] for event in read_events(run_folder(root, run)) if event["kind"] == "note"]
    print_report(console, root, summary, notes=notes)


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
