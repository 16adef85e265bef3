"""What `quarkmed doctor` looks at beyond this folder: the artifact store, its credentials, databases, MLflow's server.

A probe object is written, read and deleted. Credentials are said by where they come from, never by value.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.errors import QuarkmedError
from components.settings.settings import load_settings
from components.tracking.addresses import database, is_on_this_machine, journal_address, served_at, without_password
from flows.doctor_checks import Finding


def check_store(root: Path) -> Iterator[Finding]:
    """Write, read and delete a probe in the artifact store, and say where its credentials come from."""
    from components.storage.bucket_store import BucketStore
    from components.storage.store_address import open_store

    store = open_store(root)
    if isinstance(store, BucketStore):
        source = store.bucket.credentials_source()
        yield Finding("credentials", source is not None, f"of the object store: {source or 'none'}", "" if source else "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        if source is None:
            return
    try:
        yield Finding("store", True, store.probe())
    except QuarkmedError as error:
        yield Finding("store", False, str(error), "see the message")


def check_databases(root: Path) -> Iterator[Finding]:
    """Ask every database and MLflow server that is named; files under var/ need no asking."""
    from components.registry.database_health import ask_database
    from components.tracking.tracking_store import wait_for_server
    from flows.service_catalogue import DATABASE_OF_PREFECT

    settings = load_settings(root / "params.yaml").system
    named = {"Prefect's": os.environ.get(DATABASE_OF_PREFECT) or settings.prefect_database, "MLflow's": database(root)}
    for whose, address in named.items():
        if address.startswith("postgresql"):
            password = f"password by {_password_source(address)}"
            try:
                says = f"{whose}: {ask_database(address)} at {without_password(address)}; {password}"
                yield Finding("database", True, says)
            except QuarkmedError as error:
                yield Finding("database", False, f"{whose}: {error}; {password}", "see the message")
    server = served_at(root)
    if server is None or is_on_this_machine(server, settings.mlflow_port):
        return
    try:
        wait_for_server(server)
        is_shared = journal_address(root).startswith("postgresql")
        says = f"answers at {without_password(server)}; the promotion journal is {'in its database' if is_shared else 'a file in this folder, which no other folder sees'}"
        yield Finding("MLflow server", is_shared, says, "" if is_shared else "set system.mlflow_database to the server's database")
    except QuarkmedError as error:
        yield Finding("MLflow server", False, str(error), "see the message")


def _password_source(address: str) -> str:
    """Return by what reference a database's password is found; its value is not looked at."""
    if without_password(address) != address:
        return "the variable that holds the address"
    if os.environ.get("PGPASSWORD"):
        return "PGPASSWORD"
    path = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    return str(path) if path.is_file() else "none"
