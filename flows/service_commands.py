"""`quarkmed up` and `down`: both servers, healthy before their addresses are printed."""

from pathlib import Path

from components.settings.settings import load_settings
from flows.services import Service, mlflow_service, prefect_service, start_service, stop_service, wait_until_healthy


def bring_up(root: Path) -> None:
    """Start both servers, wait until both answer, and print where they are.

    Raises:
        ServiceError: a port is taken, or a server does not come up; what this call started is stopped again.
    """
    services = all_services(root)
    started: list[Service] = []
    try:
        for service in services:
            if start_service(root, service, is_kept=True):
                started.append(service)
        for service in services:
            wait_until_healthy(root, service)
    except BaseException:
        for service in started:
            stop_service(root, service)
        raise
    for service in services:
        print(f"{service.name:8} {service.address}{'' if service in started else '   (was up already)'}")
    print("`quarkmed down` stops them.")


def bring_down(root: Path) -> None:
    """Stop the servers that were started here, and only those."""
    for service in all_services(root):
        print(f"{service.name:8} {'stopped' if stop_service(root, service) else 'was not running'}")


def all_services(root: Path) -> tuple[Service, Service]:
    """Return Prefect's and MLflow's server of the project."""
    settings = load_settings(root / "params.yaml").system
    return prefect_service(root, settings), mlflow_service(root, settings)
