"""A project with two registered versions: 1, the champion, and 2, the candidate of the present run; made once, copied for each test."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from components import layout
from components.evaluation.results import ItemResult, read_results, write_results
from components.registry.journal import Journal, open_journal
from components.registry.promotion import CHALLENGER, Candidate, promote
from components.registry.versions import MlflowVersions
from components.storage.artifact_store import ArtifactStore, ModelReference, write_reference
from components.tracking.replay import replay_stage, start_run
from components.tracking.tracking_store import open_client

ROOT = Path(__file__).resolve().parents[2]
MODEL = "quarkmed"
SUITES = ("probes", "exam", "verified", "ability", "grounded", "preference", "format", "safety")
RUNS = {"1": "20260101-000000-aaaa", "2": "20260102-000000-bbbb"}


def rows(*, verified: float = 0.5, safety: float = 1.0, text: str = "Answer: B") -> list[ItemResult]:
    """Sixty items a suite in ten clusters; of each cluster's six `verified` items the given share is right."""
    shares = dict.fromkeys(SUITES, 0.5) | {"format": 1.0, "safety": safety, "verified": verified}
    return [
        ItemResult(suite, f"{suite}_task", f"{suite}-{number}", f"c{number % 10}", 0, float(number // 10 < round(share * 6)), False, text)
        for suite, share in shares.items()
        for number in range(60)
    ]


class RegistryProject:
    """A project's folder with what promotion needs, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def journal(self) -> Journal:
        return open_journal(self.root)

    @property
    def versions(self) -> MlflowVersions:
        return MlflowVersions(open_client(self.root), MODEL)

    @property
    def aliases(self) -> dict[str, str]:
        """The aliases as the registry has them."""
        return {str(alias): str(version) for alias, version in open_client(self.root).get_registered_model(MODEL).aliases.items()}

    def register(self, weight: str, run: str) -> tuple[str, ModelReference]:
        """Publish a model of a few bytes, replay its stage and register it."""
        folder = self.root / "var" / "made" / weight
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(weight)
        reference = ArtifactStore(self.root / "var" / "store").publish(folder)
        write_reference(self.root / layout.MODELS["grpo_general"], reference)
        start_run(str(self.root), run, tags={})
        work = self.root / "var" / "work" / "grpo_general" / weight
        work.mkdir(parents=True)
        report = {"name": "grpo_general", "key": f"key-{weight}", "folder": str(work), "parameters": {"grpo_general": {"steps": 3}}, "models": {"models/grpo_general.json": reference.model_dump()}}
        stage = replay_stage(str(self.root), run, report)
        tags = {"run": run, "git_sha": "c0ffee", "model_digest": reference.digest, "artifacts/holdout": "0123.dir"}
        versions = self.versions
        version = versions.register(
            stage_key=f"key-{weight}", run_id=stage, artifact="models/grpo_general", tags={f"quarkmed.{name}": value for name, value in tags.items()}, description=""
        )
        versions.set_alias(CHALLENGER, version)
        return version, reference

    def write_rows(self, candidate: Sequence[ItemResult]) -> None:
        """Write the present run's evaluation: the candidate's rows, and base's, which gets nothing verified right."""
        write_results(self.root / layout.RESULTS, [*(("grpo_general", row) for row in candidate), *(("base", row) for row in rows(verified=0.0))])

    def change_rows(self, change: Callable[[ItemResult], ItemResult]) -> None:
        """Change the candidate's rows one by one."""
        self.write_rows([change(row) for row in read_results(self.root / layout.RESULTS)["grpo_general"]])

    def score(self, root: str, reference: dict[str, object]) -> str:
        """Stand in for the scoring of an earlier model: half of the verified items right."""
        path = Path(root) / "var" / "work" / "champion" / str(reference["digest"])[:20] / "results.parquet"
        write_results(path, [("champion", row) for row in rows()])
        return str(path)


@pytest.fixture(scope="session")
def two_registered(tmp_path_factory: pytest.TempPathFactory) -> RegistryProject:
    """Return the project that the others are copied from. Not to be changed."""
    project = RegistryProject(tmp_path_factory.mktemp("registry") / "project")
    project.root.mkdir()
    for name in ("params.yaml", "LICENSE"):
        shutil.copyfile(ROOT / name, project.root / name)
    version, reference = project.register("first", RUNS["1"])
    details = {"run": RUNS["1"], "reference": reference.model_dump(), "reasons": ["better than base"], "verdict": None}
    promote(project.journal, project.versions, Candidate(MODEL, version, "key of run 1", details), expected_champion=None, who="gate@here")
    project.register("second", RUNS["2"])
    project.write_rows(rows(verified=1.0))
    return project


@pytest.fixture
def project(two_registered: RegistryProject, tmp_path: Path) -> RegistryProject:
    """Return a copy that a test may change, with MLflow's addresses leading into the copy."""
    root = tmp_path / "project"
    shutil.copytree(two_registered.root, root)
    from mlflow.tracking._tracking_service import utils as tracking_utils

    old, new = str(two_registered.root), str(root)
    with sqlite3.connect(root / "var" / "mlflow" / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"), ("model_versions", "storage_location")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))
    tracking_utils._artifact_repos_cache.clear()  # by run id, and the copies share those
    return RegistryProject(root)


@pytest.fixture
def leaking() -> Callable[[ItemResult], ItemResult]:
    """Return a change that puts a telephone number, made up, into one answer."""
    return lambda row: replace(row, text="Call 415 555 0134 now.") if row.case_id == "exam-7" else row
