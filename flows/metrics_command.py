"""`quarkmed metrics`: serve the project's metrics to Prometheus, or print them once. `quarkmed up` starts it as a service.

Printed into a file, they are what node_exporter's textfile collector reads:

    quarkmed metrics --once > /var/lib/node_exporter/quarkmed.prom

Nothing is written, so a read-only view of the project's folder is enough.
"""

import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from components.errors import ServiceError
from components.settings.settings import load_settings

HEALTH = "/health"  # answers at once, where the page itself reads every run
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request: a slow scrape does not hold up the question for health."""

    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log no requests: there is one every few seconds."""


def metrics(root: Path, *, host: str, port: int | None, once: bool) -> None:
    """Print the page, or serve it until told to stop.

    Args:
        host: address to listen on.
        port: to listen on; 0: a free one; None: `system.metrics_port`.
    Raises:
        ServiceError: the port is taken.
    """
    from prometheus_client import generate_latest, make_wsgi_app

    from flows.metrics_page import project_registry

    registry = project_registry(root)
    if once:
        print(generate_latest(registry).decode("utf-8"), end="")
        return
    port = load_settings(root / "params.yaml").system.metrics_port if port is None else port
    try:
        server = make_server(host, port, with_health(make_wsgi_app(registry)), _Server, handler_class=_SilentHandler)
    except OSError as error:
        raise ServiceError(_why_not(root, host, port, error)) from None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    print(f"metrics  http://{host}:{server.server_port}/metrics", flush=True)
    stop.wait()
    server.shutdown()
    thread.join()


def with_health(page: Application) -> Application:
    """Return an application that answers `HEALTH` itself and leaves all else to the page."""

    def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environment["PATH_INFO"] != HEALTH:
            return page(environment, start)
        start("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"ok\n"]

    return answer


def _why_not(root: Path, host: str, port: int, error: OSError) -> str:
    """Say why the port cannot be listened on, and by whom it is held where that is the project's own service."""
    from flows.service_catalogue import metrics_service
    from flows.services import running

    service = metrics_service(root, load_settings(root / "params.yaml").system)
    found = running(root, service) if port == service.port else None
    if found is not None:
        return (
            f"port {port}: the project's own metrics service (process {found.pid}), which `quarkmed up` started, serves the page there already: "
            f"{service.address}/metrics; `--once` prints it, `--port 0` serves it a second time"
        )
    return f"{host}:{port} cannot be listened on ({error.strerror}); stop the program that holds it, or name another by --port"
