"""Where MLflow's state and the promotion journal are: a team's server, a PostgreSQL database, or files under var/.

    MLFLOW_TRACKING_URI           a running MLflow server: runs, registry and aliases go through it
    MLFLOW_BACKEND_STORE_URI      the database, by the name MLflow's own server knows it; else system.mlflow_database
    MLFLOW_ARTIFACTS_DESTINATION  where runs' files lie (s3://…); else var/mlflow/artifacts

The journal is in that database where it is PostgreSQL, whether MLflow is reached through a server or not; else it is a
file under var/. Variables of MLflow's own names count before the settings, because a deployment sets them by reference.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from components.settings.settings import load_settings

FOLDER = "var/mlflow"
JOURNAL = "var/registry/journal.db"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE_VARIABLE = "MLFLOW_BACKEND_STORE_URI"
ARTIFACTS_VARIABLE = "MLFLOW_ARTIFACTS_DESTINATION"
PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


def tracking_uri(root: Path) -> str:
    """Return what an MLflow client of the project is opened with: the server, else the database."""
    return os.environ.get(TRACKING_VARIABLE, "").rstrip("/") or database(root)


def served_at(root: Path) -> str | None:
    """Return the address of the MLflow server that MLFLOW_TRACKING_URI names, or None where the database is used directly."""
    address = tracking_uri(root)
    return address if address.startswith(("http://", "https://")) else None


def database(root: Path) -> str:
    """Return the address of MLflow's database. The file store of MLflow is gone since 3.13."""
    tracked = os.environ.get(TRACKING_VARIABLE, "")
    given = os.environ.get(DATABASE_VARIABLE, "") or (tracked if tracked.startswith("postgresql") else "")
    if not given and (root / "params.yaml").is_file():
        given = load_settings(root / "params.yaml").system.mlflow_database
    return given or own_file(root)


def own_file(root: Path) -> str:
    """Return the address of the project's own SQLite file."""
    return f"sqlite:///{(root / FOLDER).resolve() / 'mlflow.db'}"


def journal_address(root: Path) -> str:
    """Return the address of the database that holds the promotion journal."""
    address = database(root)
    return address if address.startswith("postgresql") else f"sqlite:///{root / JOURNAL}"


def artifacts_address(root: Path) -> str:
    """Return the address below which runs keep their files."""
    return os.environ.get(ARTIFACTS_VARIABLE, "").rstrip("/") or ((root / FOLDER).resolve() / "artifacts").as_uri()


def is_made(root: Path) -> bool:
    """Say whether MLflow has state for this project; only the file under var/ can be seen to be absent without asking."""
    return tracking_uri(root) != own_file(root) or (root / FOLDER / "mlflow.db").is_file()


def has_journal(root: Path) -> bool:
    """Say whether there may be a promotion journal; only the file under var/ can be seen to be absent without asking."""
    return not journal_address(root).startswith("sqlite") or (root / JOURNAL).is_file()


def store_name(root: Path) -> str:
    """Return which MLflow a record was replayed into: "local" for the file under var/, else its address without a password."""
    address = tracking_uri(root)
    return "local" if address == own_file(root) else without_password(address)


def without_password(address: str) -> str:
    """Return an address as it may be shown."""
    return PASSWORD.sub(r"\1:***@", address)


def is_on_this_machine(address: str, port: int) -> bool:
    """Say whether an address is that port of this machine."""
    parts = urlsplit(address)
    return parts.hostname in ("127.0.0.1", "localhost", "::1") and parts.port == port
