"""Commands of this machine's services and of their health."""

import sys
from typing import Annotated

import typer

from flows.command_line.app import app, project_root, wide_console


@app.command()
def doctor(
    free_gib: Annotated[float, typer.Option("--free-gib", min=0, help="disk below which it warns, in GiB")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Look at every part, each line ok or what to do; exit code 1 where a line is not ok."""
    from flows.doctor_command import doctor as look

    if not look(project_root(), free_gib=free_gib, as_json=as_json, console=wide_console()):
        sys.exit(1)


@app.command(epilog="Examples: `quarkmed up` serves the page on http://127.0.0.1:9217/metrics, and infra/prometheus/ scrapes it; `quarkmed metrics --once` prints it; `quarkmed metrics --port 0` serves it on a free port until Ctrl-C.")
def metrics(
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="to listen on; 0: a free one; not given: system.metrics_port")] = None,
    host: Annotated[str, typer.Option("--host", help="address to listen on; another than loopback only in a container or behind a firewall")] = "127.0.0.1",
    once: Annotated[bool, typer.Option("--once", help="print the page and end")] = False,
) -> None:
    """Serve what Prometheus asks: runs by outcome, stages' seconds and memory, the champion, open promotions, disk."""
    from flows.metrics_command import metrics as serve_metrics

    serve_metrics(project_root(), host=host, port=port, once=once)


@app.command()
def up() -> None:
    """Start the Prefect and MLflow servers, the page of metrics and the process that runs deployments on this machine; print their addresses."""
    from flows.service_commands import bring_up

    bring_up(project_root())


@app.command()
def down() -> None:
    """Stop exactly what `up` started; runs at work save first, and go on at the next `up`."""
    from flows.service_commands import bring_down

    bring_down(project_root())


@app.command(epilog="Examples: `quarkmed automations` shows which are there; `quarkmed automations --notify slack-webhook/team` applies them.")
def automations(
    notify: Annotated[str | None, typer.Option(help="TYPE/NAME of the notification block that sends them, made in the Prefect page")] = None,
) -> None:
    """Show, or bring to the Prefect server, the notifications of infra/automations.yaml: a failed run, a promotion that waits."""
    from flows.automations_command import show_automations

    show_automations(project_root(), notify=notify, console=wide_console())
