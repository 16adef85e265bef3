"""`quarkmed metrics`: serve the project's metrics to Prometheus on loopback, or print them once.

Printed into a file, they are what node_exporter's textfile collector reads:

    quarkmed metrics --once > /var/lib/node_exporter/quarkmed.prom
"""

import signal
import threading
from pathlib import Path

from components.errors import ServiceError

LOOPBACK = "127.0.0.1"


def metrics(root: Path, *, port: int, once: bool) -> None:
    """Print the page, or serve it until told to stop.

    Args:
        port: to listen on, loopback only; 0: a free one.
    Raises:
        ServiceError: the port is taken.
    """
    from prometheus_client import generate_latest, start_http_server

    from flows.metrics_page import project_registry

    registry = project_registry(root)
    if once:
        print(generate_latest(registry).decode("utf-8"), end="")
        return
    try:
        server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
    except OSError as error:
        raise ServiceError(f"port {port} cannot be listened on ({error.strerror}); stop the program that holds it, or name another by --port") from None
    print(f"metrics  http://{LOOPBACK}:{server.server_port}/metrics", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
    thread.join()
