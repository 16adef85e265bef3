"""Commands of runs: start one, run a stage, see what would run, what runs, and what was logged."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from flows.command_line.app import app, project_root, wide_console


@app.command(
    epilog="Examples: `quarkmed retrain`; `quarkmed retrain --dry-run --set ift.steps=400` plans a run with another value; "
    "`quarkmed retrain --revision main --from-stage sft --promote ask` runs the last commit of main anew from sft and lets a person decide."
)
def retrain(
    profile: Annotated[str | None, typer.Option(help="laptop, single-gpu or tiny: values laid over params.yaml *")] = None,
    revision: Annotated[str | None, typer.Option(help="branch, tag or commit to run instead of what lies in the folder *")] = None,
    data_revision: Annotated[str | None, typer.Option(help="branch, tag or commit whose data/ is taken *")] = None,
    from_stage: Annotated[str | None, typer.Option(help="run this stage, and what its outputs lead to, although nothing changed *")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value laid over params.yaml; may be given many times *")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say which stages would run and why")] = False,
    budget: Annotated[float, typer.Option(min=0, help="GPU-hours the run may spend; 0: as params.yaml says")] = 0.0,
    promote: Annotated[str | None, typer.Option(help="of a model that passes the gate: never, ask or auto; as params.yaml says where not given")] = None,
) -> None:
    """Bring every stage up to date, evaluate, and promote the model where the gate lets it.

    Options marked * make it work in a workspace of its own, at the last commit or the revision named: your files stay as they are.
    """
    from flows.retrain_options import asked_of

    root, console = project_root(), wide_console()
    choices = {"profile": profile, "revision": revision, "data_revision": data_revision, "from_stage": from_stage, "overrides": overrides}
    asked = asked_of(root, {name: value for name, value in choices.items() if value}, dry_run=dry_run, budget_gpu_hours=budget, promote=promote)
    if dry_run and asked.elsewhere is None:
        from flows.looking import print_plan

        print_plan(root, console=console)
        return
    from flows.run_command import run_retrain

    run_retrain(root, console=console, asked=asked)


@app.command(epilog="Examples: `quarkmed stage ift`; `quarkmed stage ift --micro-divisor 2` after its memory was exhausted, which changes no more than last bits.")
def stage(
    name: Annotated[str, typer.Argument(help="a stage of dvc.yaml")],
    micro_divisor: Annotated[int, typer.Option("--micro-divisor", min=1, max=64, help="divide micro_tokens by this: smaller passes, same step, same key")] = 1,
) -> None:
    """Run one stage here and now, in this process (or under torchrun, on all its processes); what `dvc repro` calls."""
    from components.launch.ranked_stage import execute_ranked_stage, is_launched
    from components.launch.torch_setup import prepare_torch
    from components.observing.run_log import open_process_log
    from components.pipeline.running import execute_stage
    from components.recorder import read_warnings
    from components.settings.settings import load_settings
    from components.training.preemption import stop_signals

    root = project_root()
    settings = load_settings(root / "params.yaml")
    open_process_log()
    prepare_torch(settings.run.threads)
    with stop_signals(signal.SIGTERM, signal.SIGINT, grace_seconds=settings.system.grace_seconds):
        done = (execute_ranked_stage if is_launched() else execute_stage)(name, root=str(root), micro_divisor=micro_divisor)
    if done is None:
        return
    for warning in read_warnings(Path(done["folder"])):
        print(f"note: {warning}")
    print(f"{name}: {done['seconds']:.1f} s; its record: {done['folder']}")


@app.command()
def plan() -> None:
    """Say which stages would run, why, and how long each took last time."""
    from flows.looking import print_plan

    print_plan(project_root())


@app.command()
def status() -> None:
    """Say what runs, what the last run did, and which model is champion."""
    from flows.looking import print_status

    print_status(project_root())


@app.command(epilog="Examples: `quarkmed logs` prints the newest run's; `quarkmed logs 20261125-154018 --stage ift`; `quarkmed logs --level warning`; `quarkmed logs --follow`.")
def logs(
    run: Annotated[str | None, typer.Argument(help="a run's id, or its beginning, or the output folder of a recipe; without: the newest")] = None,
    stage: Annotated[str | None, typer.Option(help="only lines of this stage")] = None,
    level: Annotated[str, typer.Option(help="info, warning or error: this and graver")] = "info",
    follow: Annotated[bool, typer.Option("--follow", help="go on printing until the run ends")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the lines as they are, JSON")] = False,
) -> None:
    """Print what all processes of a run logged, in the order of time: stage, step, and what happened."""
    from flows.logs_command import logs as print_logs

    print_logs(project_root(), run, stage=stage, level=level, follows=follow, as_json=as_json, console=wide_console())
