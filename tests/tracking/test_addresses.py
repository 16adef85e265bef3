"""Which MLflow and which journal a project uses: its own files, databases by settings or variables, or a server."""

import shutil
from pathlib import Path

import pytest
import yaml

from components.errors import ServiceError, StorageError
from components.tracking.addresses import (
    artifacts_address,
    database,
    is_made,
    journal_address,
    served_at,
    store_name,
    tracking_uri,
    without_password,
)
from components.tracking.replay import is_replayed, mark_replayed
from components.tracking.tracking_store import open_client

ROOT = Path(__file__).parents[2]
OWN, OTHER = "postgresql://quarkmed@db:5432/mlflow", "postgresql://quarkmed:word@other:5432/mlflow"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


@pytest.fixture
def of_a_team(project: Path) -> Path:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"]["mlflow_database"] = OWN
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    return project


def test_by_default_all_is_in_files_of_the_project(project):
    assert tracking_uri(project) == database(project) == f"sqlite:///{project}/var/mlflow/mlflow.db"
    assert journal_address(project) == f"sqlite:///{project}/var/registry/journal.db"
    assert artifacts_address(project) == f"file://{project}/var/mlflow/artifacts"
    assert (served_at(project), store_name(project), is_made(project)) == (None, "local", False)


def test_the_setting_names_one_database_for_mlflow_and_the_journal(of_a_team):
    assert tracking_uri(of_a_team) == journal_address(of_a_team) == store_name(of_a_team) == OWN and is_made(of_a_team)


def test_mlflows_own_variables_count_before_the_setting(of_a_team, monkeypatch):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", OTHER)
    assert database(of_a_team) == journal_address(of_a_team) == OTHER
    assert store_name(of_a_team) == "postgresql://quarkmed:***@other:5432/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example/")
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://bucket/mlflow")
    assert tracking_uri(of_a_team) == served_at(of_a_team) == "https://mlflow.example"
    assert journal_address(of_a_team) == OTHER and artifacts_address(of_a_team) == "s3://bucket/mlflow"


def test_no_password_is_shown():
    assert without_password("postgresql://a:b%2Fc@host:1/n and http://u:p/q@h/") == "postgresql://a:***@host:1/n and http://u:***@h/"
    assert without_password("postgresql://ann@host:5432/n") == "postgresql://ann@host:5432/n"


def test_a_record_replayed_elsewhere_is_replayed_again(project, monkeypatch):
    folder = project / "var" / "work" / "ift" / "key"
    folder.mkdir(parents=True)
    (project / "var" / "mlflow").mkdir()
    (project / "var" / "mlflow" / "mlflow.db").write_text("")
    mark_replayed(str(folder), "run", store=store_name(project))
    assert is_replayed(project, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert not is_replayed(project, folder)
    mark_replayed(str(folder), "run", store=store_name(project))
    assert is_replayed(project, folder)


def test_a_server_that_is_down_is_named_with_the_variable(project, monkeypatch, free_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:word@127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match=r"MLflow server at http://ann:\*\*\*@127\.0\.0\.1:\d+ does not answer .*MLFLOW_TRACKING_URI"):
        open_client(project)


def test_a_registry_that_does_not_answer_is_not_an_empty_one():
    """An outage taken for "no such version" would abort a promotion that was under way."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

    from components.registry.versions import MlflowVersions

    class Client:
        def __init__(self, code):
            self.code = code

        def get_model_version(self, *arguments):
            raise MlflowException("said", self.code)

        get_model_version_by_alias = get_model_version

    assert not MlflowVersions(Client(RESOURCE_DOES_NOT_EXIST), "m").has_version("1")
    assert MlflowVersions(Client(INVALID_PARAMETER_VALUE), "m").get_alias("champion") is None
    for ask in (lambda versions: versions.has_version("1"), lambda versions: versions.get_alias("champion")):
        with pytest.raises(StorageError, match="does not answer as it should"):
            ask(MlflowVersions(Client(INTERNAL_ERROR), "m"))
