"""`python -m bench.overhead`: measure, print, store, one last line of JSON. Under three minutes on two cores."""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description="What orchestration costs: a retrain without change, and a stage by the flow.")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one turn of each, nothing stored")
    parser.add_argument("--fake", action="store_true", help="no-change runs in the project of quick stages, also where this repository is up to date")
    arguments = parser.parse_args()
    from bench.overhead.outcome import lines, store, summary
    from components.errors import QuarkmedError

    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), repeats=1 if arguments.quick else 5, turns=3 if arguments.quick else 20, seconds=2.0 if arguments.quick else 10.0, is_fake=arguments.fake)
    except (QuarkmedError, RuntimeError) as error:
        print(f"bench.overhead: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines(found)))
    path = None if arguments.quick else store(found, REPOSITORY)
    print(json.dumps(summary(found) | {"file": str(path.relative_to(REPOSITORY)) if path else None}), flush=True)
    return 0


def measure(folder: Path, *, repeats: int, turns: int, seconds: float, is_fake: bool) -> Any:
    """Measure everything in a temporary folder; nothing of the repository is changed.

    Args:
        repeats: no-change runs, with servers and without.
        turns: of the quick stage.
        seconds: to measure what runs beside a stage.
    """
    from bench.overhead.beside import display_share, heard_seconds, sample_seconds
    from bench.overhead.no_change import bring_up_to_date, no_change_seconds
    from bench.overhead.outcome import Measured
    from bench.overhead.projects import is_settled, make_fake_project
    from components.settings.system import SystemSettings

    fake = make_fake_project(REPOSITORY, folder)
    project = fake if is_fake or not is_settled(REPOSITORY) else REPOSITORY
    if project == fake:
        bring_up_to_date(fake)
    cold = no_change_seconds(project, repeats=repeats)
    with servers(project):
        up = no_change_seconds(project, repeats=repeats)
    with servers(fake, names=("prefect",)):
        stage = stage_cost(fake, turns)
    return Measured(
        project="this repository, 19 stages" if project == REPOSITORY else "quick stages of the tests, 4", cold_seconds=cold, up_seconds=up,
        flow_seconds=stage["flow_seconds"], plain_seconds=stage["plain_seconds"], tracking_cpu_seconds=stage["tracking_cpu_seconds"],
        display_terminal=round(display_share(folder / "live", seconds=seconds, is_terminal=True), 5),
        display_lines=round(display_share(folder / "lines", seconds=seconds, is_terminal=False), 5),
        sample_cpu_seconds=round(sample_seconds(folder, seconds=seconds / 2), 6), sample_period_seconds=SystemSettings().sample_seconds,
        heard_cpu_seconds=round(heard_seconds(folder), 9),
    )  # fmt: skip


def stage_cost(project: Path, turns: int) -> dict[str, Any]:
    """Measure the quick stage in a process of its own, as it imports Prefect, MLflow and DVC."""
    command = [sys.executable, "-m", "bench.overhead.stage_cost", str(project), str(turns)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"the quick stage failed: {(done.stdout + done.stderr)[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def servers(project: Path, *, names: tuple[str, ...] = ("prefect", "mlflow")) -> Iterator[None]:
    """Hold a project's servers up; those that this call started end with it."""
    from components.settings.settings import load_settings
    from flows.service_catalogue import mlflow_service, prefect_service
    from flows.services import start_service, stop_service, wait_until_healthy

    settings = load_settings(project / "params.yaml").system
    services = [make(project, settings) for name, make in (("prefect", prefect_service), ("mlflow", mlflow_service)) if name in names]
    started = [service for service in services if start_service(project, service, is_kept=False)]
    try:
        for service in services:
            wait_until_healthy(project, service)
        yield
    finally:
        for service in started:
            stop_service(project, service)


if __name__ == "__main__":
    sys.exit(main())
