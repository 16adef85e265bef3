"""The flow `watch_data`: notice a new version of the data at the tracked revision and start `retrain` once for it.

What was started for which version stands in var/watch/versions.db, a table of ours: Prefect's idempotency key alone would
not do, because it returns an old run in any state and is forgotten with the server's database. A version is claimed in the
table first, then the run is made under a key of the claim, then its id is noted. Killed between, the next look makes it
again under the same key, which returns the run if it was made after all: once, in every case.
"""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.deployments import run_deployment
from pydantic import BaseModel, ConfigDict, Field

from components.errors import ServiceError
from components.pipeline.data_version import data_version
from components.pipeline.watched_versions import WatchedVersions
from flows.retrain_request import REVISION, Promote

RETRAIN = "retrain/retrain"


class WatchRequest(BaseModel):
    """Which data to watch, and what to start for a new version of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remote: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]*$", max_length=100, title="Remote", description="Name of a git remote to fetch the branch from; empty: this repository as it is."
    )
    branch: str = Field(default="HEAD", pattern=REVISION, min_length=1, max_length=200, title="Tracked revision", description="Branch, or with no remote any revision, whose data are watched.")
    promote: Promote = Field(default="ask", title="Promotion", description="What the runs it starts do with a model that passes the gate: never, ask or auto.")


@flow(name="watch_data", persist_result=False, retries=0)
def watch_data(request: WatchRequest = WatchRequest()) -> str:
    """Look once; return "nothing new", or the name of the run that was started."""
    return look_for_new_data(Path.cwd(), request)


def look_for_new_data(root: Path, request: WatchRequest, *, retrain: str = RETRAIN) -> str:
    """Start `retrain` at the exact commit of a version that no run was started for.

    Args:
        retrain: "flow/deployment" to start.
    Raises:
        SettingsError: the remote or the revision does not exist.
        ServiceError: the deployment cannot be started; the next look tries again.
    """
    version = data_version(root, branch=request.branch, remote=request.remote)
    versions = WatchedVersions(root)
    claim = versions.claim(version)
    if claim.flow_run is not None:
        return "nothing new"
    asked = {"request": {"revision": version.commit, "promote": request.promote}}
    try:
        started = run_deployment(retrain, parameters=asked, timeout=0, as_subflow=False, idempotency_key=claim.key)
    except Exception as error:
        raise ServiceError(f"{retrain} could not be started for data version {version.digest[:12]} ({error}); `quarkmed up` serves it, the next look tries again") from error
    versions.note_started(version, flow_run=str(started.id))
    create_markdown_artifact(
        markdown=f"Data version `{version.digest[:12]}` at commit `{version.commit[:12]}` is new: started **{started.name}**.", key="data-version", description="a new version of the data"
    )
    return str(started.name)
