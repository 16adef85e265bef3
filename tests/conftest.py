"""Shared fixtures: a project of four quick stages with DVC, the store and git, made anew for each test; real S3 and PostgreSQL servers."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.recorder import Recorder
from components.settings.settings import load_settings
from components.stage import StageContext, declared_stages
from components.storage.artifact_store import ArtifactStore
from components.storage.checkpoints import CheckpointFolder

ROOT = Path(__file__).resolve().parents[1]
OF_A_TEAM = ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION", "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PGPASSWORD")


def pytest_configure() -> None:
    """Keep tests away from a team's servers that this shell may name, and on the processor: a GPU's are `make bench NAME=gpu_check`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in OF_A_TEAM:
        os.environ.pop(name, None)


def _make_fake_project(project: Path) -> Path:
    """Make a project folder: the repository's params.yaml and DVC settings, and the stages of tests/fake_project."""
    shutil.copytree(ROOT / "tests" / "fake_project", project, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, project / name)
    (project / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, project / ".dvc" / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=project, check=True)
    subprocess.run([*git, "add", "-A"], cwd=project, check=True)
    subprocess.run([*git, "commit", "-qm", "start"], cwd=project, check=True)
    return project


@pytest.fixture
def fake_project(tmp_path: Path) -> Path:
    """Return a project of the quick stages."""
    return _make_fake_project(tmp_path / "project")


@pytest.fixture(scope="module")
def served_fake_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of the quick stages that a module's tests share."""
    return _make_fake_project(tmp_path_factory.mktemp("served") / "project")


@pytest.fixture(scope="session")
def holders() -> Callable[..., dict[str, set[str]]]:
    """Return the search for sentences in all files below a folder: holders(folder, sentences) (tests/plain_words.py)."""
    specification = importlib.util.spec_from_file_location("plain_words", ROOT / "tests" / "plain_words.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    search: Callable[..., dict[str, set[str]]] = module.holders
    return search


@pytest.fixture(scope="session")
def stage_context() -> Callable[..., StageContext]:
    """Return a maker of contexts: a stage's row of dvc.yaml and params.yaml with overrides, working in a folder."""

    def make(stage: str, root: Path, overrides: dict[str, Any] | None = None) -> StageContext:
        row = declared_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))[stage]
        if not (root / "data").exists():
            (root / "data").symlink_to(ROOT / "data")
        return StageContext(
            name=stage, root=root, all_settings=load_settings(ROOT / "params.yaml", overrides=overrides),
            parameters=row["params"], inputs=row["deps"], outputs=row["outs"], recorder=Recorder(root / "records" / stage),
            checkpoints=CheckpointFolder(root / "checkpoints" / stage, key="test"), store=ArtifactStore(root / "store"),
        )  # fmt: skip

    return make


WORDING = [
    "Asthma causes wheeze and night cough. It is treated with salbutamol 100 micrograms.",
    "Pneumonia causes fever and a productive cough. A chest X-ray shows consolidation.",
    'What is the diagnosis of a man of 45 with chest pain? {"icd10": "I20.9"}',
]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """Return a tokenizer of 512 tokens trained on three sentences."""
    from components.modeling.tokenizers import train_tokenizer

    return train_tokenizer(WORDING, vocabulary=512)


@pytest.fixture
def tiny_model(tiny_tokenizer: Any) -> Any:
    """Yield a Qwen3 of two layers whose weights are large enough for its answers to differ, with one thread (it is tiny)."""
    import torch

    from components.modeling.models import create_model
    from components.settings.training import ModelSettings

    shape = ModelSettings(
        vocabulary=512, hidden=32, layers=2, heads=4, key_value_heads=2, head_dimension=8, intermediate=48, context=128
    )
    model = create_model(shape, tokenizer=tiny_tokenizer, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield model
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def plain_varlen_attn() -> Callable[..., Any]:
    """Return torch's attention over segments of any length, in plain products: what a GPU's kernel computes."""
    import torch

    def attend(queries, keys, values, query_ends, key_ends, longest_query, longest_key, *, scale, window_size, enable_gqa):  # type: ignore[no-untyped-def]
        """Attend segment by segment, causal from the end, as flash attention defines it since 2.1 (arXiv:2307.08691)."""
        assert (scale, window_size, enable_gqa) == (1.0, (-1, 0), True)
        assert longest_query == int(query_ends.diff().max()) and longest_key == int(key_ends.diff().max())
        outputs, per_head, (ends, seen_ends) = [], queries.shape[1] // keys.shape[1], (query_ends.tolist(), key_ends.tolist())
        for segment in range(len(ends) - 1):
            q = queries[ends[segment] : ends[segment + 1]].transpose(0, 1)
            k, v = (part[seen_ends[segment] : seen_ends[segment + 1]].transpose(0, 1).repeat_interleave(per_head, dim=0) for part in (keys, values))
            sees = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).tril(k.shape[1] - q.shape[1])
            outputs.append((q @ k.transpose(1, 2)).masked_fill(~sees, -torch.inf).softmax(-1).matmul(v).transpose(0, 1))
        return torch.cat(outputs)

    return attend


@dataclass(frozen=True)
class S3Server:
    """A running object store: its address, its one pair of keys, and the folder where its buckets lie as folders."""

    address: str
    key: str
    secret: str
    folder: Path

    def environment(self, *, address: str | None = None) -> dict[str, str]:
        """Return the variables by which boto3, DVC and MLflow reach it."""
        endpoint = address or self.address
        return {
            "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint, "AWS_CONFIG_FILE": str(self.folder.parent / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(self.folder.parent / "config"),
        }  # fmt: skip

    def bucket(self) -> str:
        """Make a bucket and return its name."""
        import boto3

        name = f"bucket-{secrets.token_hex(4)}"
        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret, "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=self.address, **keys).create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a finder of ports that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[S3Server]:
    """Yield `rclone serve s3` on loopback with random keys; it verifies signatures and ignores If-None-Match."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    server = S3Server(f"http://127.0.0.1:{port}", secrets.token_hex(8), secrets.token_hex(16), folder / "data")
    server.folder.mkdir()
    (folder / "config").touch()  # so that no profile of whoever runs the tests is read
    command = [
        str(Path(sys.executable).parent / "rclone"), "serve", "s3", "--config", "/dev/null", "--auth-key", f"{server.key},{server.secret}",
        "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--cache-dir", str(folder / "cache"), str(server.folder),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for_port(port, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL that asks for a password, which stands in `password_file` (as PGPASSFILE names one) and nowhere else."""

    port: int
    password: str
    password_file: Path

    def address(self, database: str, *, driver: str = "postgresql") -> str:
        """Return a database's address without the password."""
        return f"{driver}://quarkmed@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make a database and return its name."""
        import psycopg2

        name = f"test_{secrets.token_hex(4)}"
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="quarkmed", password=self.password, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        connection.close()
        return name


@pytest.fixture(scope="session")
def postgres(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    """Yield Debian's PostgreSQL over a new cluster on loopback; skips where it is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}  # it refuses root
    with tempfile.TemporaryDirectory(prefix="quarkmed-postgres-", ignore_cleanup_errors=True) as name:
        folder, port, password = Path(name), free_port(), secrets.token_hex(16)
        (folder / "password").write_text(password)
        (folder / "pgpass").write_text(f"127.0.0.1:{port}:*:quarkmed:{password}\n")
        (folder / "pgpass").chmod(0o600)
        if user:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        made = [str(programs[-1]), "-D", str(folder / "data"), "-U", "quarkmed", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True, **user)
        command = [str(programs[-1].with_name("postgres")), "-D", str(folder / "data"), "-p", str(port)]
        for option in ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"):
            command += ["-c", option]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **user)
        try:
            _wait_for_port(port, process, folder / "log")
            yield PostgresServer(port, password, folder / "pgpass")
        finally:
            process.send_signal(signal.SIGINT)  # ends sessions that are left, and itself
            process.wait(30)


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
