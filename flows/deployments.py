"""The deployments of infra/prefect.yaml as Prefect's runner serves them.

The file is the one list, for `quarkmed up` here and for `prefect deploy` on a team's server. Applying a deployment makes its
schedules anew, so whether one is on is read from the server first: what a person turned on or off in the page stays.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import MissingFlowError, ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from components.errors import SettingsError
from components.settings.settings import read_yaml

PREFECT_FILE = "infra/prefect.yaml"


def read_deployments(path: Path) -> list[RunnerDeployment]:
    """Return the deployments of a prefect.yaml, schedules on or off as the server has them.

    Raises:
        SettingsError: a deployment names a flow that cannot be imported, or lacks a key.
    """
    return [_deployment(row, path) for row in read_yaml(path)["deployments"]]


def _deployment(row: Mapping[str, Any], path: Path) -> RunnerDeployment:
    try:
        flow = load_flow_from_entrypoint(row["entrypoint"])
        full_name = f"{flow.name}/{row['name']}"
        limit = row.get("concurrency_limit")
        return flow.to_deployment(
            name=row["name"], description=row.get("description"), tags=list(row.get("tags", [])), parameters=row.get("parameters", {}),
            schedules=_schedules(row.get("schedules", []), active=schedule_states(full_name)),
            concurrency_limit=ConcurrencyLimitConfig(**limit) if isinstance(limit, Mapping) else limit,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )  # fmt: skip
    except (ImportError, AttributeError, KeyError, TypeError, MissingFlowError) as error:
        raise SettingsError(f"{path}: deployment {row.get('name')!r}: {type(error).__name__}: {error}; mend its row") from error


def schedule_states(full_name: str) -> dict[str, bool]:
    """Return {slug: whether it is on} of a deployment's schedules on the server; empty where it has no such deployment."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(full_name)
        except ObjectNotFound:
            return {}
    return {schedule.slug: schedule.active for schedule in found.schedules if schedule.slug}


def _schedules(rows: Sequence[Mapping[str, Any]], *, active: Mapping[str, bool]) -> list[Schedule]:
    return [
        Schedule(
            cron=row["cron"], timezone=row["timezone"], slug=row["slug"], active=active.get(row["slug"], row.get("active", False)), parameters=row.get("parameters", {})
        )
        for row in rows
    ]
