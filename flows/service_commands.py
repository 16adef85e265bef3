"""`quarkmed up` and `down`: the servers and the deployments' process, healthy before their addresses are printed."""

from pathlib import Path

from components.settings.settings import load_settings
from components.tracking.addresses import is_on_this_machine, served_at, without_password
from flows.service_catalogue import deployments_service, metrics_service, mlflow_service, prefect_service
from flows.services import Service, is_healthy, running, start_service, stop_service, wait_until_healthy

SERVING = "flows.serving"


def bring_up(root: Path, *, serving: str = SERVING) -> None:
    """Start the servers, then the process that runs deployments; wait until all are well, and print where they are.

    Args:
        serving: module that serves the deployments.
    Raises:
        ServiceError: a port is taken, something does not come up or is of another version; what this call started is stopped again.
    """
    *servers, deployments = all_services(root, serving=serving)
    started: list[Service] = []
    try:
        for group in (servers, [deployments]):  # deployments are registered with a server that answers
            for service in group:
                if start_service(root, service, is_kept=True):
                    started.append(service)
            for service in group:
                wait_until_healthy(root, service)
    except BaseException:
        for service in reversed(started):
            stop_service(root, service)
        raise
    for service in (*servers, deployments):
        print(f"{service.name:11} {service.address or 'served'}{'' if service in started else '   (was up already)'}")
    if (address := elsewhere(root)) is not None:
        print(f"{'mlflow':11} {address}   (MLFLOW_TRACKING_URI names it; not started here)")
    print("Schedules are off until somebody turns them on in the page. `quarkmed down` stops everything.")


def bring_down(root: Path) -> None:
    """Stop what was started here, and only that; runs at work save first, and go on at the next `up`."""
    wanted = {service.name for service in all_services(root)}
    for service in reversed(_every_service(root, serving=SERVING)):  # also what a setting changed since `up` leaves out
        was_running = stop_service(root, service)
        if was_running or service.name in wanted:
            print(f"{service.name:11} {'stopped' if was_running else 'was not running'}")


def service_word(root: Path, service: Service) -> str:
    """Return how a service stands, in words."""
    found = running(root, service)
    if found is None:
        return "down"
    if not is_healthy(service):
        return f"started (process {found.pid}), does not answer: `quarkmed down`, then `quarkmed up`"
    if found.version and found.version != service.version:
        return f"up as version {found.version}, but {service.version} is here now: `quarkmed down`, then `quarkmed up`"
    return f"up at {service.address}" if service.port else "up"


def all_services(root: Path, *, serving: str = SERVING) -> tuple[Service, ...]:
    """Return what `quarkmed up` starts: servers, and last the process that runs deployments; no MLflow where another is named, no metrics at port 0."""
    left_out = set() if elsewhere(root) is None else {"mlflow"}
    if not load_settings(root / "params.yaml").system.metrics_port:
        left_out.add("metrics")
    return tuple(service for service in _every_service(root, serving=serving) if service.name not in left_out)


def _every_service(root: Path, *, serving: str) -> tuple[Service, ...]:
    settings = load_settings(root / "params.yaml").system
    return (
        prefect_service(root, settings), mlflow_service(root, settings), metrics_service(root, settings), deployments_service(root, settings, module=serving)
    )  # fmt: skip


def elsewhere(root: Path) -> str | None:
    """Return the address of the MLflow server that MLFLOW_TRACKING_URI names, None where there is none or it is the project's own."""
    address = served_at(root)
    is_own = address is not None and is_on_this_machine(address, load_settings(root / "params.yaml").system.mlflow_port)
    return None if address is None or is_own else without_password(address)
