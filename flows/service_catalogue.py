"""What each local service is: Prefect's server (needed by a run), MLflow's and the page of metrics (to look at), and the process that runs deployments.

Loopback only. State is in var/, or in the PostgreSQL databases that `system.prefect_database` and `system.mlflow_database`
name (or the variables PREFECT_SERVER_DATABASE_CONNECTION_URL and MLFLOW_BACKEND_STORE_URI, which count first).
`flows.services` starts and stops them.
"""

import os
import sys
from importlib.metadata import version as package_version
from pathlib import Path

from components.lineage import digest_file, digest_value
from components.settings.system import SystemSettings
from flows.metrics_command import HEALTH
from flows.services import FOLDER, STOP_SECONDS, Service

BEAT = f"{FOLDER}/deployments.beat"  # touched by the deployments' process as long as it asks the server for work
DATABASE_OF_PREFECT = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
PAGE_CODE = ("metrics_command.py", "metrics_page.py")


def prefect_environment(root: Path, port: int) -> dict[str, str]:
    """Return the variables a process needs to talk to the project's Prefect server, and the server to be ours."""
    return {
        "PREFECT_HOME": str(root / "var" / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_METRICS_ENABLED": "true",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
    }


def prefect_service(root: Path, settings: SystemSettings) -> Service:
    """Return Prefect's server: the web application itself, without the wrapper process of its command line."""
    port = settings.prefect_port
    command = (sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning")
    environment = prefect_environment(root, port)
    if settings.prefect_database and DATABASE_OF_PREFECT not in os.environ:
        environment[DATABASE_OF_PREFECT] = settings.prefect_database
    return Service("prefect", port, command, environment, "/api/health", "system.prefect_port", version=package_version("prefect"))


def mlflow_service(root: Path, settings: SystemSettings) -> Service:
    """Return MLflow's server over the project's database, whose address it is told by a variable: it may hold a password."""
    from components.tracking.addresses import ARTIFACTS_VARIABLE, DATABASE_VARIABLE, artifacts_address, database
    from components.tracking.addresses import FOLDER as MLFLOW

    port = settings.mlflow_port
    (root / MLFLOW / "artifacts").mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    environment = {
        DATABASE_VARIABLE: database(root), ARTIFACTS_VARIABLE: artifacts_address(root),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    return Service("mlflow", port, command, environment, "/health", "system.mlflow_port", version=package_version("mlflow"))


def metrics_service(root: Path, settings: SystemSettings) -> Service:
    """Return the page of metrics that Prometheus scrapes."""
    port = settings.metrics_port
    command = (sys.executable, "-m", "flows.cli", "metrics", "--port", str(port))
    version = f"{package_version('prometheus-client')}, {_digest_of_files(*(Path(__file__).with_name(name) for name in PAGE_CODE))}"
    return Service("metrics", port, command, {"DO_NOT_TRACK": "1"}, HEALTH, "system.metrics_port", version=version)


def deployments_service(root: Path, settings: SystemSettings, *, module: str = "flows.serving") -> Service:
    """Return the process that runs deployments."""
    environment = {**prefect_environment(root, settings.prefect_port), "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    beat = root / BEAT
    version = f"{package_version('prefect')}, {deployments_digest(root)}"
    return Service("deployments", 0, (sys.executable, "-m", module), environment, str(beat), "", version=version, run_seconds=settings.grace_seconds + STOP_SECONDS)


def deployments_digest(root: Path) -> str:
    """Return seven digits of what is served: the file of deployments and the form."""
    return _digest_of_files(root / "infra" / "prefect.yaml", Path(__file__).with_name("retrain_request.py"))


def _digest_of_files(*paths: Path) -> str:
    return digest_value([digest_file(path) for path in paths if path.is_file()])[:7]
