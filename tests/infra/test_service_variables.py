"""The variables that manifests and compose file set are ones that Prefect and MLflow read, and the work pool is Prefect's own."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MLFLOW_SOURCES = ("environment_variables.py", "utils/cli_args.py", "cli/__init__.py")


@pytest.fixture(scope="module")
def names(rendered: Callable[[str], list[dict[str, Any]]]) -> set[str]:
    """The variables of every container, by ConfigMap, literal or Secret."""
    found = set()
    for manifest in rendered("base"):
        if manifest["kind"] == "ConfigMap":
            found |= set(manifest["data"])
        if manifest["kind"] == "Deployment":
            found |= {item["name"] for container in manifest["spec"]["template"]["spec"]["containers"] for item in container.get("env", [])}
    services = yaml.safe_load((ROOT / "infra" / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found.union(*(service.get("environment", {}) for service in services.values()))


def test_prefect_reads_its_variables(names):
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_valid_setting_names

    ours = {name for name in names if name.startswith("PREFECT_")}
    assert len(ours) > 8
    assert ours - _get_valid_setting_names(Settings) == set()


def test_mlflow_reads_its_variables(names):
    found = importlib.util.find_spec("mlflow")  # not imported: that takes 5 s
    assert found is not None and found.origin is not None
    text = "\n".join((Path(found.origin).parent / name).read_text(encoding="utf-8") for name in MLFLOW_SOURCES)
    ours = {name for name in names if name.startswith("MLFLOW_")}
    assert len(ours) > 6
    assert [name for name in ours if f'"{name}"' not in text] == []


def test_the_work_pool_is_prefects_own_but_for_the_folder_flows_run_in():
    from prefect.workers.process import ProcessWorker

    expected = ProcessWorker.get_default_base_job_template()
    assert expected["variables"]["properties"]["working_dir"]["default"] is None  # a temporary folder: the flow would find no project
    expected["variables"]["properties"]["working_dir"]["default"] = "/project"
    assert json.loads((ROOT / "infra" / "work-pool.json").read_text(encoding="utf-8")) == expected


def test_the_options_of_the_servers_and_the_worker_are_theirs(rendered):
    sources = {"worker": "prefect/cli/worker.py", "prefect-server": "prefect/cli/server.py", "mlflow-server": "mlflow/utils/cli_args.py", "metrics": "flows/command_line/services.py"}
    services = yaml.safe_load((ROOT / "infra" / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    compared = 0
    for manifest in rendered("base"):
        if manifest["kind"] == "Deployment":
            name = manifest["metadata"]["name"]
            command = manifest["spec"]["template"]["spec"]["containers"][0]["command"]
            assert services[name.removesuffix("-server")]["command"] == command  # the compose file starts them alike
            package, _, path = sources[name].partition("/")
            found = importlib.util.find_spec(package)
            assert found is not None and found.origin is not None
            text = (Path(found.origin).parent / path).read_text(encoding="utf-8")
            options = [part.partition("=")[0] for part in command if part.startswith("--")]
            assert [option for option in options if f'"{option}"' not in text] == []
            compared += len(options)
    assert compared == 2 + 3 + 7 + 2
