"""Which version of the data stands at a revision: the digest of everything stages read that no stage makes and no code is.

Data in git are named by git's tree, which for data kept by DVC holds the `.dvc` files with their MD5s, so either way a
changed byte is a new version. A folder outside the project that a setting names is named by its bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from components.errors import SettingsError, StorageError
from components.lineage import digest_value
from components.pipeline.graph import StageRow
from components.pipeline.own_workspace import resolve_revision
from components.pipeline.run_reference import run_git
from components.pipeline.stage_key import path_digest
from components.settings.settings import Settings
from components.stage import declared_stages

WATCHED = "refs/quarkmed/watched"
DATA = "data/"


@dataclass(frozen=True)
class DataVersion:
    """The data at a commit: `digest` is equal where every byte of them is."""

    commit: str
    digest: str


def data_version(root: Path, *, branch: str, remote: str = "") -> DataVersion:
    """Return the version of the data at a branch.

    Args:
        branch: with no remote any revision of this repository.
        remote: it is fetched first, to a reference of our own; branches and remote-tracking branches stay as they are.
    Raises:
        SettingsError: the remote or the revision does not exist, or it has no dvc.yaml.
    """
    commit = resolve_revision(root, _fetched(root, remote, branch) if remote else branch)
    rows = _rows(root, commit)
    paths = sorted({path for row in rows for path in row.inputs if f"{path}/".startswith(DATA)})
    digests = {path: _tree(root, commit, path) for path in paths}
    return DataVersion(commit, digest_value([digests, _named(root, commit, rows)]))


def _fetched(root: Path, remote: str, branch: str) -> str:
    reference = f"{WATCHED}/{remote}/{branch}"
    try:
        run_git(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", remote, f"+{branch}:{reference}")
    except StorageError as error:
        raise SettingsError(f"remote {remote!r}, branch {branch!r}: cannot be fetched ({error}); `git remote -v` shows the remotes") from None
    return reference


def _rows(root: Path, commit: str) -> list[StageRow]:
    try:
        declared = declared_stages(yaml.safe_load(run_git(root, "show", f"{commit}:dvc.yaml")))
    except (StorageError, KeyError, AttributeError, TypeError, yaml.YAMLError):
        raise SettingsError(f"commit {commit[:12]} has no stage graph in dvc.yaml, so what its data are cannot be told") from None
    return [StageRow(name, row["params"], row["deps"], row["outs"], row["folders"]) for name, row in declared.items()]


def _tree(root: Path, commit: str, path: str) -> str:
    """Return git's id of a path; of its `.dvc` file where DVC keeps the path."""
    for name in (path, f"{path}.dvc"):
        try:
            return run_git(root, "rev-parse", "--verify", "--quiet", f"{commit}:{name}")
        except StorageError:
            continue
    return "missing"


def _named(root: Path, commit: str, rows: list[StageRow]) -> dict[str, str]:
    """Return {setting: digest of the folder it names}; the folder as it is now, for git knows nothing of it."""
    from components.pipeline.named_folders import named_folders

    try:
        settings = Settings.model_validate(yaml.safe_load(run_git(root, "show", f"{commit}:params.yaml")))
    except (StorageError, ValidationError, yaml.YAMLError):
        return {}
    found: dict[str, Path] = {}
    for row in rows:
        found |= named_folders(root, row, settings)
    return {setting: path_digest(root, str(folder), user="watch_data") if folder.is_dir() else "missing" for setting, folder in found.items() if setting != "model.folder"}
