"""What a run tells Prefect's server beside the flow itself. Import it after the environment names the server."""

from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

MAXIMUM_LOST = 200
FLUSH_SECONDS = 5.0


def mark_lost_runs(*, but: frozenset[str] | None = frozenset()) -> int:
    """Set runs that claim to be running to Crashed and return how many; only the holder of the folder's lock may call it.

    Args:
        but: names of runs that are at work; None: any of them may be, and nothing is set.
    """
    if but is None:
        return 0
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])))
    count = 0
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])), flow_run_filter=running, sort=FlowRunSort.START_TIME_DESC, limit=MAXIMUM_LOST
        )
        for lost in found:
            if lost.deployment_id is None and lost.name not in but:
                client.set_flow_run_state(lost.id, Crashed(message="killed; the next run went on from its checkpoints"), force=True)
                count += 1
    return count


def crash_flow_runs(identities: list[str]) -> list[str]:
    """Set the named runs that still claim to be running to Crashed; return the ids of those that did."""
    crashed = []
    with get_client(sync_client=True) as client:
        for identity in identities:
            try:
                state = client.read_flow_run(UUID(identity)).state
            except (ObjectNotFound, ValueError):
                continue
            if state is not None and state.type in (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING):
                client.set_flow_run_state(UUID(identity), Crashed(message="its process is gone; set by `quarkmed reconcile`"), force=True)
                crashed.append(identity)
    return crashed


def flush_prefect() -> None:
    """Send what this process still holds for the server; without it, stopping the server first costs minutes of retries."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=FLUSH_SECONDS)
    EventsWorker.drain_all(timeout=FLUSH_SECONDS)
