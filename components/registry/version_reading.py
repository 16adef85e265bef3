"""Read the registry's versions and their MLflow runs; nothing is made or changed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UserError
from components.registry.promotion import CHALLENGER
from components.tracking.addresses import FOLDER, is_made
from components.tracking.replay import USED
from components.tracking.tracking_store import experiment_id, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

WANTED = re.compile(r"(?:models:/(?P<model>[^@/]+))?(?:[@/]?(?P<which>[\w.-]+))?")
TAG = "quarkmed."
DATA = "data"  # the tag of all data versions, JSON: a tag each would bury the others in the registry's page
SAME_ALIAS = {"candidate": CHALLENGER}


@dataclass(frozen=True)
class VersionRecord:
    """A registered version as MLflow has it; `created` in seconds since the epoch."""

    model: str
    version: str
    mlflow_run: str
    source: str
    created: float
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def labels(self) -> dict[str, str]:
        """The project's own tags, without their prefix and without the data versions."""
        return {name: value for name, value in self._own().items() if name != DATA and "/" not in name}

    @property
    def data(self) -> dict[str, str]:
        """{path: DVC digest} of the run's data versions; versions of before had a tag for each path."""
        own = self._own()
        return {name: value for name, value in own.items() if "/" in name} | json.loads(own.get(DATA, "{}"))

    def _own(self) -> dict[str, str]:
        return {name.removeprefix(TAG): value for name, value in self.tags.items() if name.startswith(TAG)}


@dataclass(frozen=True)
class StageRunRecord:
    """The MLflow run into which a stage's record was replayed; `used` is what the stage used, as its tags `quarkmed.used.*` say."""

    mlflow_run: str
    stage_key: str
    parent_run: str
    used: Mapping[str, str]


def open_registry(root: Path) -> "MlflowClient":
    """Return a client of the project's registry.

    Raises:
        UserError: there is none yet.
    """
    if not is_made(root):
        raise UserError(f"{root / FOLDER}/mlflow.db: no such file, so no version is registered yet; run `quarkmed retrain` first")
    return open_client(root)


def registered_versions(client: "MlflowClient", model: str) -> list[VersionRecord]:
    """Return every version of a model, oldest first; none where the model is unknown."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(model).aliases
    except MlflowException:
        return []
    found = client.search_model_versions(f"name='{model}'", max_results=10000)
    named: dict[str, list[str]] = {}
    for alias, version in aliases.items():
        named.setdefault(str(version), []).append(alias)
    records = [
        VersionRecord(
            model, str(item.version), str(item.run_id or ""), str(item.source), item.creation_timestamp / 1000, dict(item.tags), tuple(sorted(named.get(str(item.version), [])))
        )
        for item in found
    ]  # fmt: skip
    return sorted(records, key=lambda record: int(record.version))


def find_version(client: "MlflowClient", wanted: str, *, model: str) -> VersionRecord:
    """Return the version that `models:/name@alias`, `models:/name/3`, `@alias`, `alias` or `3` names.

    Args:
        model: the name where `wanted` gives none. The alias `candidate` stands for `challenger`.
    Raises:
        UserError: there is no such model or version.
    """
    match = WANTED.fullmatch(wanted.strip())
    if match is None or not match["which"]:
        raise UserError(f"{wanted!r} names no version; write models:/{model}@champion, @candidate or a version's number")
    name, which = match["model"] or model, match["which"]
    records = registered_versions(client, name)
    if not records:
        raise UserError(f"the registry holds no version of {name!r}; run `quarkmed retrain`, or check the name (system.model_name is {model})")
    for alias in (which, SAME_ALIAS.get(which, which)):
        for record in records:
            if record.version == which or alias in record.aliases:
                return record
    known = sorted({alias for record in records for alias in record.aliases})
    raise UserError(f"{name} has no version or alias {which!r}; versions: {records[0].version} to {records[-1].version}; aliases: {', '.join(known) or 'none'}")


def stage_run(client: "MlflowClient", root: Path, *, stage: str, outputs: Mapping[str, str], parent: str | None) -> StageRunRecord | None:
    """Return the replayed run of a stage that made exactly these outputs, that of the parent run first, else the newest.

    Args:
        outputs: {path: DVC digest}; at least one.
        parent: MLflow id of the `retrain` asked about.
    """
    records = stage_runs(client, root, stage=stage, outputs=outputs)
    return next((record for record in records if record.parent_run == parent), records[0] if records else None)


def stage_runs(client: "MlflowClient", root: Path, *, stage: str, outputs: Mapping[str, str]) -> list[StageRunRecord]:
    """Return the replayed runs of a stage that made exactly these outputs ({path: DVC digest}; at least one), newest first."""
    conditions = [f"tags.`quarkmed.stage` = '{stage}'", "tags.`quarkmed.replayed` = 'true'"]
    conditions += [f"tags.`quarkmed.output.{path}` = '{digest}'" for path, digest in outputs.items()]
    found = client.search_runs([experiment_id(client, root)], " and ".join(conditions), max_results=100)
    return [
        StageRunRecord(
            str(run.info.run_id), run.data.tags.get("quarkmed.stage_key", ""), run.data.tags.get("mlflow.parentRunId", ""),
            {name.removeprefix(USED): value for name, value in run.data.tags.items() if name.startswith(USED)},
        )
        for run in found
    ]  # fmt: skip


def retrain_run(client: "MlflowClient", root: Path, run: str) -> str | None:
    """Return the MLflow id of a `retrain`, or None."""
    found = client.search_runs([experiment_id(client, root)], f"tags.`quarkmed.run` = '{run}'", max_results=1)
    return str(found[0].info.run_id) if found else None
