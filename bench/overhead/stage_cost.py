"""`python -m bench.overhead.stage_cost <project> <repeats>`: a quick stage through the flow, and its function called plainly.

In the fake project, whose Prefect server is up. Each turn changes the stage's input, so that it is stale. Prints one line
of JSON: seconds of each turn, and the processor seconds that writing to MLflow took beside, in a process of its own.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

STAGE, INPUT = "sources", "data/notes.txt"
TABLE = "fake_stages:STAGES"
WARM = 2  # turns that are not counted


def main() -> int:
    """Measure, print."""
    project, repeats = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    os.chdir(project)
    sys.path.insert(0, str(project))
    from components.settings.settings import load_settings
    from flows.service_catalogue import prefect_environment

    settings = load_settings(project / "params.yaml")
    os.environ.update(prefect_environment(project, settings.system.prefect_port))
    found = _through_the_flow(project, repeats)
    print(json.dumps(found | {"plain_seconds": _plainly(project, repeats)}), flush=True)
    return 0


def _through_the_flow(project: Path, repeats: int) -> dict[str, Any]:
    from prefect import flow

    from components.launch.launcher import open_launcher
    from components.settings.settings import load_settings
    from flows.run_folder import new_run_id
    from tasks.run_stage import run_stage
    from tasks.session import open_session

    run = new_run_id(time.time())
    settings = load_settings(project / "params.yaml")
    launcher = open_launcher(project, run=run, settings=settings, table=TABLE)
    session = open_session(project, run, launcher)
    seconds: list[float] = []

    @flow(name="overhead")
    def turns(count: int) -> None:
        for turn in range(count):
            (project / INPUT).write_text(f"word {run} {turn} {count}\n", encoding="utf-8")
            started = time.perf_counter()
            how = run_stage(session, STAGE)
            seconds.append(round(time.perf_counter() - started, 4))
            if how != "ran":
                raise RuntimeError(f"stage {STAGE} was {how}, so this measures nothing")

    try:
        session.start(tags={})
        turns(WARM)
        session.wait_for_tracking()
        seconds.clear()
        before = _cpu_seconds(session.tracker.pid)
        turns(repeats)
        session.wait_for_tracking()
        tracking = (_cpu_seconds(session.tracker.pid) - before) / repeats
    finally:
        session.close()
    return {"flow_seconds": seconds, "tracking_cpu_seconds": round(tracking, 4)}


def _plainly(project: Path, repeats: int) -> list[float]:
    """Return the seconds of the function alone, in this process, with a recorder and a store."""
    from components.pipeline.graph import load_graph
    from components.pipeline.running import open_store, stage_function
    from components.recorder import Recorder
    from components.settings.settings import load_settings
    from components.stage import StageContext
    from components.storage.checkpoints import CheckpointFolder

    settings, row, folder = load_settings(project / "params.yaml"), load_graph(project).row(STAGE), project / "var" / "plain"
    function, seconds = stage_function(STAGE, TABLE), []
    for turn in range(repeats):
        (project / INPUT).write_text(f"word {turn}\n", encoding="utf-8")
        context = StageContext(
            name=STAGE, root=project, all_settings=settings, parameters=row.parameters, inputs=row.inputs, outputs=row.outputs,
            recorder=Recorder(folder), checkpoints=CheckpointFolder(folder / "checkpoints", key="bench"), store=open_store(project, settings),
        )  # fmt: skip
        started = time.perf_counter()
        function(context)
        seconds.append(round(time.perf_counter() - started, 4))
    return seconds


def _cpu_seconds(pid: int | None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
