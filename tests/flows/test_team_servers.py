"""A team's servers: Prefect, MLflow and the journal in a real PostgreSQL, models and runs' files in a real object store."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
import yaml

from components.errors import StorageError
from components.provenance.explanation import explain_version
from components.provenance.registry_health import alias_disagreement, dangling_versions
from components.registry.journal import Entry, Journal, PromotionConflict
from components.registry.promotion import CHAMPION, Candidate, promote
from flows.doctor_connections import check_databases, check_store
from flows.service_commands import all_services, bring_down
from flows.services import start_service, wait_until_healthy

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def project(fake_project: Path, postgres, s3_server, free_port, monkeypatch) -> Path:
    """A project whose databases, files and models are all on servers; passwords and keys come by reference."""
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.bucket()
    values = yaml.safe_load((fake_project / "params.yaml").read_text())
    values["system"] |= {
        "store": f"s3://{bucket}/team", "prefect_port": free_port(), "mlflow_port": free_port(), "metrics_port": free_port(),
        "prefect_database": postgres.address(postgres.database(), driver="postgresql+asyncpg"), "mlflow_database": postgres.address(postgres.database()),
    }  # fmt: skip
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", f"s3://{bucket}/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{values['system']['mlflow_port']}")
    (fake_project / "params.yaml").write_text(yaml.safe_dump(values))
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qam", "servers"], cwd=fake_project, check=True)
    return fake_project


def rows(postgres, address, query):
    connection = psycopg2.connect(address.replace("+asyncpg", ""), password=postgres.password)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    connection.close()
    return found


def retrain(project):
    return subprocess.run([sys.executable, "retrain.py"], cwd=project, capture_output=True, text=True, timeout=200)


def test_a_retrain_keeps_all_of_its_state_on_a_teams_servers(project, postgres, s3_server):
    system = yaml.safe_load((project / "params.yaml").read_text())["system"]
    try:
        for service in all_services(project)[:2]:  # as `quarkmed up`; this project has no deployments
            assert start_service(project, service, is_kept=True)
        for service in all_services(project)[:2]:
            wait_until_healthy(project, service)
        done = retrain(project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "version 1 is the champion now" in done.stdout and "MLflow:" not in done.stdout
        again = retrain(project)
        assert again.returncode == 0 and again.stdout.startswith("Nothing to do")

        assert rows(postgres, system["prefect_database"], "select f.name, r.state_type from flow_run r join flow f on f.id = r.flow_id") == [("retrain", "COMPLETED")]
        assert rows(postgres, system["mlflow_database"], "select sequence, kind, version from promotions order by sequence") == [(1, "PREPARED", "1"), (2, "COMMITTED", "1")]
        assert rows(postgres, system["mlflow_database"], "select alias, version from registered_model_aliases order by alias") == [("challenger", 1), ("champion", 1)]
        assert not [name for name in ("mlflow/mlflow.db", "registry/journal.db", "store") if (project / "var" / name).exists()]
        assert not [path for path in (project / "var" / "mlflow").rglob("*") if path.is_file() and path.suffix != ".lock"]
        bucket = s3_server.folder / system["store"].removeprefix("s3://").partition("/")[0]
        assert len(list((bucket / "team" / "models").glob("*.json"))) == len({path.read_text() for path in (project / "models").glob("*.json")})
        assert list((bucket / "mlflow").rglob("models/grpo_general/model.json"))

        shutil.rmtree(project / "var" / "store-cache")
        explained = explain_version(project, "@champion", reads_bytes=True)
        assert {model["stored"] for model in explained["models"]} == {"as published"} and explained["notes"] == []
        assert dangling_versions(project) == (1, []) and alias_disagreement(project) is None
        found = [*check_store(project), *check_databases(project)]
        assert [(finding.part, finding.is_ok) for finding in found] == [("credentials", True), ("store", True), ("database", True), ("database", True)], found
        assert all(str(postgres.password_file) in finding.says for finding in found[2:])
    finally:
        bring_down(project)
    secrets = (postgres.password.encode(), s3_server.secret.encode())
    assert [path for path in project.rglob("*") if path.is_file() and any(secret in path.read_bytes() for secret in secrets)] == []


def test_ten_promotions_at_once_leave_one_champion_and_a_whole_history(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    address, barrier, aliases = postgres.address(postgres.database()), threading.Barrier(10), {}

    class Aliases:
        def get_alias(self, alias):
            return aliases.get(alias)

        def set_alias(self, alias, version):
            aliases[alias] = version

        def has_version(self, version):
            return True

    def attempt(number: int) -> str:
        barrier.wait()
        mine = Journal(address)  # ten make the table at once, too
        barrier.wait()
        try:
            promote(mine, Aliases(), Candidate("quarkmed", str(number), f"key-{number}", {"reasons": []}), expected_champion=None)
        except PromotionConflict:
            return "refused"
        return str(number)

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(attempt, range(10)))
    winners = [outcome for outcome in outcomes if outcome != "refused"]
    journal = Journal(address)
    assert len(winners) == 1
    assert aliases[CHAMPION] == winners[0] == journal.champion("quarkmed").version
    assert [(entry.sequence, entry.kind) for entry in journal.entries("quarkmed")] == [(1, "PREPARED"), (2, "COMMITTED")]


def test_notes_written_at_once_are_all_kept_in_one_sequence(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    address = postgres.address(postgres.database())
    Journal(address)

    def note(number: int) -> None:
        Journal(address).note(Entry(model="quarkmed", version=str(number), kind="REFUSED", action="refuse", decision_key=f"key-{number}", who="ann@desk"))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(note, range(20)))
    entries = Journal(address).entries("quarkmed")
    assert [entry.sequence for entry in entries] == list(range(1, 21)) and {entry.version for entry in entries} == {str(number) for number in range(20)}


def test_a_wrong_password_is_said_without_it(postgres, monkeypatch, tmp_path):
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    monkeypatch.setenv("PGPASSWORD", "not-the-password")
    with pytest.raises(StorageError, match=r"promotion journal cannot be opened .*password authentication failed.*PGPASSFILE or PGPASSWORD") as refused:
        Journal(postgres.address("postgres"))
    assert "not-the-password" not in str(refused.value)
