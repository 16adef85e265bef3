"""Bring records and facts together again after kills: promotions, aliases, MLflow's runs, Prefect's runs, runs/ folders.

Each thing done is a sentence. What a living process owns is left alone; what only the holder of the project's folder may
judge is judged only while this process holds it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError
from components.registry.card_keeping import keep_card
from components.registry.journal import open_journal
from components.registry.promotion import CHAMPION, recover
from components.registry.versions import MlflowVersions
from components.settings.settings import load_settings
from components.tracking.addresses import is_made
from components.tracking.dead_runs import close_dead_runs
from components.tracking.tracking_store import open_client
from flows.run_folder import running_process, workspace_lock
from flows.run_states import end_killed_runs
from flows.service_catalogue import prefect_service
from flows.services import is_healthy
from tasks.flow_processes import dead_flow_runs, forget_flow_run


def reconcile_all(root: Path, *, elsewhere: bool = False) -> list[str]:
    """Finish or abort what was left open, and say each thing done; nothing said means nothing was open.

    Args:
        elsewhere: whether runs of other hosts count as dead (right where nothing works on another machine).
    """
    said = reconcile_promotions(root)
    with _holding(root) as owner:
        if owner is not None:
            said.append(f"a retrain is at work here (process {owner}): runs that name no process are left alone")
        said += close_dead_runs(str(root), takes_unnamed=owner is None, elsewhere=elsewhere)
        if owner is None:
            said += close_run_folders(root, elsewhere=elsewhere)
        said += close_flow_runs(root, elsewhere=elsewhere, takes_unnamed=owner is None)
    return said


def reconcile_promotions(root: Path) -> list[str]:
    """Finish or abort a promotion that was left open, and let the aliases name what the journal says."""
    if not is_made(root):
        return []
    model = load_settings(root / "params.yaml").system.model_name
    client = open_client(root)
    versions = MlflowVersions(client, model)
    alias = versions.get_alias(CHAMPION)
    if not open_journal(root).entries(model):
        return [f"the alias {CHAMPION} names version {alias}, and the journal knows no promotion: left as it is; `quarkmed promote` settles it"] if alias else []
    said = recover(open_journal(root), versions, model=model)
    champion = open_journal(root).champion(model)
    if said and champion is not None and versions.has_version(champion.version):
        keep_card(root, client, model, champion.version)  # a kill may have come before it was written
    return said


def close_run_folders(root: Path, *, elsewhere: bool = False) -> list[str]:
    """End the event logs of runs that were killed; only the holder of the folder's lock may call it."""
    return [f"ended run {state.run}: it was killed" for state in end_killed_runs(root, elsewhere=elsewhere)]


def close_flow_runs(root: Path, *, elsewhere: bool, takes_unnamed: bool) -> list[str]:
    """Set Prefect's runs whose process is gone to Crashed; where the server is down, say that it could not be asked."""
    dead = dead_flow_runs(root, elsewhere=elsewhere)
    service = prefect_service(root, load_settings(root / "params.yaml").system)
    if "PREFECT_API_URL" not in os.environ:
        if not is_healthy(service):
            return [f"{len(dead)} flow runs of Prefect were killed, and its server is down: run `quarkmed up`, then `quarkmed reconcile`"] if dead else []
        os.environ.update(service.environment)
    from flows.prefect_client import crash_flow_runs, mark_lost_runs

    said = [f"closed flow run {name} in Prefect: its process is gone" for name in crash_flow_runs(dead)]
    for identity in dead:
        forget_flow_run(root, identity)
    count = mark_lost_runs() if takes_unnamed else 0
    return said + ([f"closed {count} more flow runs of `quarkmed retrain` in Prefect"] if count else [])


@contextlib.contextmanager
def _holding(root: Path) -> Iterator[int | None]:
    """Hold the project's folder and yield None, or yield the process that holds it."""
    with contextlib.ExitStack() as stack:
        owner = None
        try:
            stack.enter_context(workspace_lock(root))
        except UserError:
            owner = running_process(root) or 0
        yield owner
