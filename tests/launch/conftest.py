"""A cluster on this machine: an API server whose pods are processes, a small project on its volume, a backend that uses it."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import layout
from components.cases.case import Case
from components.conversations import Message
from components.documents import Document, write_jsonl
from components.launch.attempts import run_attempts
from components.launch.ends import Attempt
from components.launch.kubernetes_backend import KubernetesBackend, open_cluster_backend
from components.pipeline.graph import load_graph
from components.pipeline.running import FINISHED, StageRun, run_stage, work_folder
from components.pipeline.stage_key import stage_inputs, stage_key
from components.settings.settings import Settings, load_settings

sys.path.insert(0, str(Path(__file__).parent))
from api_server import ApiServer

ROOT = Path(__file__).parents[2]
STAGES = {"stages": {name: {"cmd": f"quarkmed stage {name}", "deps": ["data"], "params": ["run", "engine"], "outs": [f"artifacts/{name}"]} for name in ("sources", "ift")}}
POD = {"image": "trainer:1", "cpus": 2, "memory_gibibytes": 4, "gpus": 2}


SMALL = {
    "model": {"vocabulary": 512, "hidden": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "head_dimension": 8, "intermediate": 48},
    "pretraining": {"steps": 8, "batch_tokens": 256, "micro_tokens": 96, "validate_every": 4, "checkpoint_every": 3},
}  # fmt: skip


def _small_project(root: Path, *, strategy: str, optimiser: str = "muon") -> Path:
    """Write a project of which the stage `pretraining` runs in seconds."""
    documents = [Document(id=f"d{number}", type="textbook", source="s", text=f"Asthma note {number}: wheeze and night cough.") for number in range(60)]
    write_jsonl(root / layout.DOCUMENTS, documents)
    write_jsonl(root / layout.SENTENCES, [{"text": f"Asthma causes wheeze {n}.", "triple": ["asthma", "causes", str(n)], "template": "y"} for n in range(20)])
    case = Case(
        id="c", split="train", suite="verified", task="diagnosis", group="g", cluster="a", entities=("a",), combination="1", template="t",
        messages=(Message(role="user", content="Wheeze. Diagnosis?"),), answer="J45.9", verifier="icd_diagnosis",
    )  # fmt: skip
    write_jsonl(root / layout.TRAIN_CASES, [case])
    for folder in ("components", "infra"):
        (root / folder).symlink_to(ROOT / folder)
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, values in {**SMALL, "engine": {"strategy": strategy}, "run": {"threads": 1}}.items():
        params[section].update(values)
    params["pretraining"]["optimiser"]["kind"] = optimiser
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def small_project() -> Callable[..., Path]:
    """Return `_small_project`: small_project(folder, strategy="ddp")."""
    return _small_project


class Cluster:
    """The project, its server, and the scripts that pods run instead of a stage, one a job in the order they are made."""

    def __init__(self, root: Path, server: ApiServer) -> None:
        self.root, self.server = root, server
        self.told: list[str] = []
        self.made: list[dict[str, Any]] = []  # the jobs, as they were made
        self.scripts: list[str] = []
        self.launch: dict[str, Any] = {
            "backend": "kubernetes",
            "retry": {"first_wait_seconds": 0.01, "infrastructure": 1},
            "cluster": {"address": server.address, "namespace": "n", "pods": str(root / "pods.yaml"), "mount": str(root), "look_seconds": 0.1},
        }  # fmt: skip
        server.pods.program = self._program

    @property
    def settings(self) -> Settings:
        return load_settings(self.root / "params.yaml", overrides={"launch": self.launch, "system.grace_seconds": 1.0})

    def attempt(self, stage: str = "sources") -> Attempt:
        return Attempt(stage, stage_key(stage_inputs(self.root, load_graph(self.root).row(stage), self.settings)))

    def backend(self, run: str = "run-1") -> KubernetesBackend:
        return open_cluster_backend(self.root, run=run, settings=self.settings, log=self.root / "log.txt", tell=self.told.append)

    def run(self, run: str = "run-1") -> StageRun:
        """Run the stage to its end, as a run's launcher does."""
        backend, retry = self.backend(run), self.settings.launch.retry
        return run_attempts(backend, self.attempt(), retry=retry, may_start=lambda: None, tell=self.told.append)

    def later(self, act: Callable[[], Any], *, seconds: float = 0.0) -> threading.Timer:
        """Do something in a thread, once the test waits for the stage."""
        thread = threading.Timer(seconds, act)
        thread.start()
        return thread

    def lose_the_answer(self, backend: KubernetesBackend) -> None:
        """Let the server carry out the backend's next creation, and its answer be lost."""
        create = backend.api.create

        def lose(path: str, manifest: dict[str, Any]) -> dict[str, Any]:
            backend.api.create = create
            self.server.lost_answers = 1
            return create(path, manifest)

        backend.api.create = lose

    def log_lines(self) -> list[str]:
        """Return the lines of the run's log."""
        return (self.root / "log.txt").read_text().splitlines()

    def good(self, stage: str = "sources") -> str:
        """A script that does what the stage would: its output and its marker."""
        attempt, kept = self.attempt(stage), self.root / "kept" / stage
        if not kept.exists():
            row = load_graph(self.root).row(stage)

            def function(context: Any) -> None:
                context.write(f"artifacts/{stage}").write_text("made")

            done = run_stage(row, root=self.root, settings=self.settings, function=function)
            kept.mkdir(parents=True)
            (self.root / "artifacts" / stage).rename(kept / "output")
            (Path(done.folder) / FINISHED).rename(kept / FINISHED)
        folder = work_folder(self.root, stage, attempt.key)
        return f"echo making; cp {kept}/output artifacts/{stage}; cp {kept}/{FINISHED} {folder}/; echo made"

    def _program(self, job: dict[str, Any], index: int) -> list[str]:
        if index == 0:
            self.made.append(job)
        script = self.scripts[min(len(self.made), len(self.scripts)) - 1]
        return ["sh", "-c", script.replace("$INDEX", str(index))]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Yield a project of two stages and the cluster that runs them."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "data" / "notes.txt").write_text("one")
    (root / "artifacts").mkdir()
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    (root / "dvc.yaml").write_text(yaml.safe_dump(STAGES, sort_keys=False))
    (root / "pods.yaml").write_text(yaml.safe_dump(POD))
    server = ApiServer(root)
    yield Cluster(root, server)
    server.stop()


@pytest.fixture(scope="session")
def api_server() -> Callable[..., ApiServer]:
    """Return the server's class."""
    return ApiServer
