"""`retrain` in a workspace of its own: what a schedule, a trigger, a person at the Prefect page or an option asks for."""

import signal
import time
from pathlib import Path

from prefect import get_client
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from components.errors import Preempted
from components.launch.launcher import open_launcher
from components.pipeline.own_workspace import check_out_data
from components.pipeline.plan import make_plan
from components.pipeline.restoring import restore_ahead
from components.pipeline.workspace import Workspace
from components.tracking.unreplayed import unreplayed_reports
from flows.own_workspaces import OwnWorkspace, own_workspace
from flows.retrain import bring_up_to_date
from flows.retrain_request import RetrainRequest
from flows.run_ending import keep_ended_run, keep_reports, noted_ending
from tasks.publish_pages import publish_plan
from tasks.session import open_session


def retrain_elsewhere(root: Path, request: RetrainRequest, *, table: str) -> str:
    """Bring every stage up to date in a workspace made for the request and settle the promotion; return what was decided.

    Started again after a kill, it goes on in its workspace.

    Args:
        root: the project's folder.
        table: "module:NAME" of the mapping from stage names to modules.
    Raises:
        SettingsError: an unknown revision, profile, stage or override, before anything runs.
        QuarkmedError: whatever a stage raised; the workspace is kept.
        TerminationSignal: told to stop; what was at work is saved.
    """
    try:
        with own_workspace(root, request, flow_run=flow_run.id) as place:
            _name_flow_run(place.run)
            check_out_data(place.folder)
            return _plan_only(place, request) if request.dry_run else _retrain(place, request, table=table)
    except Preempted as stop:  # in Prefect's own words, so that a run cancelled in the page reads as cancelled
        print(stop)
        raise TerminationSignal(signal.SIGTERM) from stop


def _plan_only(place: OwnWorkspace, request: RetrainRequest) -> str:
    workspace = Workspace(place.folder, place.settings)
    anew = frozenset(workspace.graph.downstream(request.first_anew)) if request.first_anew else frozenset()
    restore_ahead(workspace, but=anew, restore=lambda name, why: workspace.restore(name) is not None)
    publish_plan(make_plan(workspace, anew=anew))
    return "planned"


def _retrain(place: OwnWorkspace, request: RetrainRequest, *, table: str) -> str:
    started = time.time()
    launcher = open_launcher(place.folder, run=place.run, settings=place.settings, table=table)
    session = open_session(place.folder, place.run, launcher, from_stage=request.first_anew)
    with noted_ending(session.events):
        launcher.warm_up()
        decision = bring_up_to_date(session, profile=request.profile, is_new_workspace=True)
    keep_ended_run(place.folder, place.run, profile=request.profile, started=started, now=time.time())
    keep_reports(place.folder, place.run)
    place.is_kept = bool(unreplayed_reports(place.folder))
    return decision


def _name_flow_run(run: str) -> None:
    """Let the page call the flow run by the run's id."""
    if flow_run.id is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, name=run)
