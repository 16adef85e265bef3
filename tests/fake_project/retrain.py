"""`quarkmed retrain` over the fake stages: `python retrain.py`; with `--stages-only [run]` without servers, MLflow and promotion."""

import sys
from pathlib import Path

from light_worker import leave_torch_out

from flows import cli

TABLE = "fake_stages:STAGES"


def whole() -> None:
    from rich.console import Console

    from flows.run_command import run_retrain

    run_retrain(Path.cwd(), console=Console(width=160), stage_table=TABLE)


def stages_only() -> None:
    from components.launch.launcher import RoutingLauncher
    from components.settings.settings import load_settings
    from flows.run_folder import workspace_lock
    from tasks.session import open_session
    from tasks.stage_advance import advance_stage

    root, run = Path.cwd(), (*sys.argv, "run")[2]
    launcher = RoutingLauncher(root, run=run, settings=load_settings(root / "params.yaml"), log=root / "var" / "stages.log", table=TABLE)
    session = open_session(root, run, launcher)
    session._submit_replay = lambda report: None
    try:
        with workspace_lock(root):
            for name in session.workspace.graph.names:
                print(name, advance_stage(session, name), flush=True)
    finally:
        session.close()


if __name__ == "__main__":
    leave_torch_out()
    cli.app = stages_only if "--stages-only" in sys.argv else whole
    cli.main()
