"""Commands of a model of one's own: tune it by a recipe, and what it costs."""

from pathlib import Path
from typing import Annotated

import typer

from components.errors import SettingsError
from flows.command_line.app import app, project_root, wide_console


@app.command(
    epilog="Examples: `quarkmed train docs/examples/doses/recipe.yaml` tunes by a recipe; run again after a kill, it goes on; "
    "`--mlflow` logs it to the project's MLflow, also one that ended before; `quarkmed logs <output>` prints what happened; "
    "`quarkmed train --options` prints every key with default, unit and source. docs/training.md explains."
)
def train(
    recipe: Annotated[Path | None, typer.Argument(help="a YAML file: kind, model, data, output, and one section of settings")] = None,
    options: Annotated[bool, typer.Option("--options", help="print every key a recipe may have, as a table, and end")] = False,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="log the run to the project's MLflow when it has ended: metrics, settings, what it used, tables of answers; else nothing leaves the output folder")
    ] = False,
) -> None:
    """Tune a model folder by a recipe: GRPO with your own reward function, supervised, or a reward model; under torchrun on all its processes."""
    if options:
        from components.settings.options import options_table

        print(options_table())
        return
    if recipe is None:
        raise SettingsError("train: name a recipe (a YAML file), or ask for --options; docs/training.md shows one of ten lines")
    from flows.train_command import train as run_training

    run_training(recipe, console=wide_console(), project=project_root() if mlflow else None)


@app.command(
    epilog="Examples: `quarkmed size infra/sizing/qwen3-32b.json` plans 70k + 80k prompts on H100 nodes; `--plan my-plan.yaml` changes machines and lengths; "
    "`quarkmed size CONFIG --measured <output>/record` puts the formulas beside a run on this machine."
)
def size(
    config: Annotated[Path, typer.Argument(help="a Hugging Face config.json, or its folder")],
    plan: Annotated[Path | None, typer.Option(help="a YAML file with hardware, assumed, trainer, stages, nodes; components/settings/sizing.py")] = None,
    measured: Annotated[Path | None, typer.Option(help="the record folder of a GRPO run of this model on this machine")] = None,
    precision: Annotated[str, typer.Option(help="of that run: auto, float32 or bfloat16")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="of that run; 0: one a core")] = 0,
    gigaflops: Annotated[float, typer.Option(min=0, help="products its machine computes, 10⁹ operations a second; 0: measured here")] = 0.0,
    gigabytes: Annotated[float, typer.Option(min=0, help="what it reads from memory, 10⁹ bytes a second; 0: measured here")] = 0.0,
) -> None:
    """Say what training a model costs, on paper: memory, tokens/s, nodes, hours; or compare the formulas with a run."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise SettingsError(f"--precision: {precision!r} is none; auto, float32 or bfloat16")
    from flows.size_command import RunSpeed
    from flows.size_command import size as print_size

    print_size(config, plan=plan, measured=measured, speed=RunSpeed(precision, threads, gigaflops, gigabytes), console=wide_console())
