"""What follows from a withdrawal: stages to run again, what stops working once copies are purged, what is left to a person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.layout import RAW_DOCUMENTS, WITHDRAWN
from components.pipeline.graph import load_graph, overlaps
from components.pipeline.worktrees import is_tracked
from components.provenance.executions import Reached
from components.provenance.stored_copies import Copy
from components.registry.promotion import CHAMPION
from components.registry.version_reading import open_registry, registered_versions
from components.settings.settings import load_settings
from components.tracking.run_files import has_runs


@dataclass(frozen=True)
class HeldVersion:
    """A registered version whose model's bytes are among the copies."""

    version: str
    aliases: tuple[str, ...]
    digest: str

    @property
    def is_champion(self) -> bool:
        """Say whether it is the champion."""
        return CHAMPION in self.aliases


def stages_to_rebuild(root: Path, reached: Reached) -> tuple[str, ...]:
    """Return the stages of dvc.yaml that made or used the rows, `sources` first, and all that use what those make."""
    graph, concerned = load_graph(root), {stage.name for stage in reached.stages}
    found: list[str] = []
    for row in graph.rows:
        makes_raw = any(overlaps(RAW_DOCUMENTS, path) for path in row.outputs)
        if makes_raw or row.name in concerned or any(above in found for above in graph.upstream(row.name)):
            found.append(row.name)
    return tuple(found)


def versions_among(root: Path, copies: Iterable[Copy]) -> list[HeldVersion]:
    """Return the registered versions whose model is among the copies, oldest first."""
    digests = {copy.digest for copy in copies if copy.place == "store"}
    if not digests or not has_runs(root):
        return []
    records = registered_versions(open_registry(root), load_settings(root / "params.yaml").system.model_name)
    found = [HeldVersion(item.version, item.aliases, item.tags.get("quarkmed.model_digest", "")) for item in records]
    return [item for item in found if item.digest in digests]


def what_stops(copies: Sequence[Copy], versions: Iterable[HeldVersion]) -> tuple[str, ...]:
    """Return sentences on what no longer works once the copies are away."""
    said = []
    for item in versions:
        named = f"version {item.version}{' (' + ', '.join(item.aliases) + ')' if item.aliases else ''}"
        if item.is_champion:
            said.append(f"{named} is the champion: `quarkmed ask` and `quarkmed evaluate champion` stop, and the next candidate cannot be scored against it")
        else:
            said.append(f"{named} can no longer be loaded, rolled back to or compared with")
    if any(copy.place in ("DVC cache", "DVC remote") for copy in copies):
        said.append("runs that were made with it can no longer be reproduced")
    if any(copy.place == "folder" for copy in copies):
        said.append("what the folder's stages made with it is missing until the next `quarkmed retrain` (`quarkmed ask` needs artifacts/index)")
    return tuple(said)


def what_is_by_hand(root: Path) -> tuple[str, ...]:
    """Return sentences on what no purge of ours can do: a person's own sources, git's history, other clones, backups."""
    said = []
    if (root / ".git").exists():
        said.append(f"commit {WITHDRAWN}, so that every clone and every scheduled run builds without it")
    folder = load_settings(root / "params.yaml").sources.folder
    if folder is not None:
        own = root / Path(folder).expanduser()
        said.append(f"{own}: these sources are your own files; take the rows out there yourself (`sources` leaves them out meanwhile)")
        if is_tracked(own):
            said.append(
                f"{own} is tracked by git, whose history cannot be purged from here: rewrite it (`git filter-repo --invert-paths --path …`), force the push, "
                "have every clone made anew, and have the host drop what is unreachable"
            )
    said.append("other clones, backups, and what was taken out of the project (exports, models of `quarkmed train` and their runs in MLflow) are not known here")
    return tuple(said)
