"""`quarkmed doctor`: each fault is one line that is not ok and says what to do; a sound project has none."""

import contextlib
import importlib.metadata
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from components.curation.withdrawn import Withdrawal, add_withdrawals
from components.pipeline.events import RunEvents
from components.provenance.purge_journal import PurgeJournal
from components.provenance.stored_copies import Copy
from flows import doctor_checks
from flows.doctor_checks import (
    Finding,
    all_findings,
    check_logs,
    check_prefect_runs,
    check_runs,
    check_services,
    check_versions,
    check_withdrawals,
)
from flows.doctor_connections import check_databases, check_store
from flows.services import FOLDER as SERVICES


def faults(findings):
    return [finding for finding in findings if not finding.is_ok]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = Path(__file__).parents[2]
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, tmp_path / name)
    return tmp_path


def test_packages_are_compared_with_the_lock(project):
    version = importlib.metadata.version("rich")
    (project / "requirements.lock").write_text(f"# made by uv\nrich=={version}\n")
    assert [finding.is_ok for finding in check_versions(project)] == [True]
    (project / "requirements.lock").write_text("rich==0.0.1\nnot-installed-at-all==2.0\n")
    (found,) = check_versions(project)
    assert not found.is_ok and f"rich {version}, locked 0.0.1" in found.says and "not-installed-at-all missing" in found.says
    assert found.to_do == "run `make setup`"


def test_a_run_that_was_killed_is_named_and_one_at_work_is_said(project, monkeypatch):
    RunEvents(project / "runs" / "20260101-000000-aaaa").end("finished")
    assert faults(check_runs(project)) == []
    RunEvents(project / "runs" / "20260102-000000-bbbb").phase("running")
    (found,) = check_runs(project)
    assert not found.is_ok and "20260102-000000-bbbb was killed" in found.says and "make retrain" in found.to_do
    import flows.run_folder as run_folder

    (project / "var").mkdir()
    (project / "var" / "retrain.lock").write_text("1")
    monkeypatch.setattr(run_folder, "running_process", lambda root: 4711)
    (found,) = check_runs(project)
    assert found.says.startswith("2 runs, a retrain is at work (process 4711)")


def test_withdrawn_ids_nobody_else_knows_of_and_an_interrupted_purge_are_faults(fake_project):
    assert [(finding.is_ok, finding.says) for finding in check_withdrawals(fake_project)] == [(True, "0 ids")]
    add_withdrawals(fake_project, [Withdrawal(id="visit-7", time="", who="ann", why="")])
    (found,) = check_withdrawals(fake_project)
    assert not found.is_ok and found.says == "1 ids, and data/withdrawn.jsonl is not committed"
    copies = [Copy("folder", str(fake_project / name), "", "left aside") for name in ("a", "b")]
    journal = PurgeJournal(fake_project)
    begun = journal.begin(who="ann", ids=("visit-7",), saw={}, copies=copies)
    journal.note_gone(begun, 1, found=True)
    (found,) = check_withdrawals(fake_project)
    assert not found.is_ok and found.says == "purge 1 was interrupted, 1 copies are left" and "quarkmed forget visit-7 --purge" in found.to_do
    journal.end(begun)
    assert [finding.says for finding in check_withdrawals(fake_project)] == ["1 ids, and data/withdrawn.jsonl is not committed"]


def test_a_server_that_was_started_and_does_not_answer_is_a_fault(project):
    import os

    import psutil

    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"] = {**values.get("system", {}), "prefect_port": 1029, "mlflow_port": 1030, "metrics_port": 1032}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert [finding.is_ok for finding in check_services(project)] == [True] * 4
    note = {"pid": os.getpid(), "started": psutil.Process().create_time(), "is_kept": True}
    (project / SERVICES).mkdir(parents=True)
    (project / SERVICES / "prefect.json").write_text(json.dumps(note))
    found = list(check_services(project))
    assert [finding.is_ok for finding in found] == [False, True, True, True] and "quarkmed down" in found[0].to_do


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(project, monkeypatch):
    from components.errors import StorageError

    def broken(root):
        raise StorageError("the journal cannot be opened")
        yield

    monkeypatch.setattr(doctor_checks, "CHECKS", {"registry": broken, "runs": check_runs})
    found = list(all_findings(project, free_gib=0.0))
    assert found[0] == Finding("registry", False, "the journal cannot be opened", "see the message") and found[1].part == "runs"
    full = list(all_findings(project, free_gib=10.0**9))
    assert any(finding.part == "disk" and not finding.is_ok and "free the disk" in finding.to_do for finding in full)


def test_a_run_that_failed_last_is_named_with_its_cause(project):
    events = RunEvents(project / "runs" / "20260102-000000-bbbb")
    events.stage("ift", "failed", reason="x")
    events.end("failed", cause="models/base.json: no such file")
    runs, newest = check_runs(project)
    assert runs.is_ok and not newest.is_ok and "failed in stage ift: models/base.json: no such file" in newest.says


def test_logs_that_outgrew_their_limit_are_a_fault(project):
    RunEvents(project / "runs" / "20260102-000000-bbbb").end("finished")
    assert [finding.is_ok for finding in check_logs(project)] == [True]
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"]["kept_logs_mib"] = 1.0e-6
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    (found,) = check_logs(project)
    assert not found.is_ok and "in 1 runs" in found.says and "system.kept_logs_mib" in found.to_do


def test_a_run_that_prefect_has_as_running_while_none_is_is_a_fault(project):
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"]["prefect_port"] = 1031
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert [finding.says for finding in check_prefect_runs(project)] == ["has no database yet"]
    (project / "var" / "prefect").mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(project / "var" / "prefect" / "prefect.db")) as database:
        database.execute("CREATE TABLE flow_run (state_type VARCHAR)")
        database.executemany("INSERT INTO flow_run VALUES (?)", [("COMPLETED",), ("RUNNING",)])
        database.commit()
        (found,) = check_prefect_runs(project)
        assert not found.is_ok and found.says == "1 runs stand as running, and none is"
        database.execute("DELETE FROM flow_run WHERE state_type = 'RUNNING'")
        database.commit()
    assert [finding.is_ok for finding in check_prefect_runs(project)] == [True]


def test_a_store_without_credentials_and_a_database_that_is_down_are_faults(project, monkeypatch, free_port):
    assert [finding.is_ok for finding in (*check_store(project), *check_databases(project))] == [True]
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"] |= {"store": "s3://bucket/team", "mlflow_database": f"postgresql://quarkmed@127.0.0.1:{free_port()}/mlflow"}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "PGPASSFILE"):
        monkeypatch.setenv(name, str(project / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (credentials,) = check_store(project)
    assert not credentials.is_ok and "none" in credentials.says and "AWS_ACCESS_KEY_ID" in credentials.to_do
    (database,) = check_databases(project)
    assert not database.is_ok and "refused" in database.says and "password by none" in database.says


@pytest.mark.parametrize("is_here", [True, False])
def test_a_gpu_without_a_c_compiler_is_said_to_be_slow(monkeypatch, tmp_path, is_here):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda number: "H")
    monkeypatch.setattr("components.modeling.compiled.has_compiler", lambda: is_here)
    (gpu,) = (finding for finding in doctor_checks.check_machine(tmp_path, free_gib=0) if finding.part == "GPU")
    assert gpu.is_ok is is_here and gpu.says.startswith("2 × H") and gpu.to_do.startswith("install gcc") is not is_here
