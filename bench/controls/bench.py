"""The bench, top to bottom: settings of each seed, all their steps, the comparison, the stored result."""

from pathlib import Path

from rich.console import Console

from bench.controls.comparing import compare_all
from bench.controls.outcome import last_line, make_outcome, print_table, store_outcome
from bench.controls.running import run_steps
from bench.controls.steps import SeedSteps
from bench.controls.workspaces import seed_workspace
from components.errors import DataError
from components.launch.torch_setup import prepare_torch
from components.lineage import digest_value
from components.pipeline.graph import load_graph
from components.pipeline.stage_key import path_digest
from components.settings.settings import Settings, load_settings
from flows.run_folder import workspace_lock

FOLDER = "var/bench/controls"
RESULTS = "bench/results"
CODE = ("components", "bench/controls", "data/knowledge_base", "dvc.yaml")


def run_bench(project: Path, *, seeds: int, profile: Path | None, console: Console, folder: Path | None = None) -> Path:
    """Run or finish the bench, print its table and last line; return the stored file.

    Args:
        profile: laid over params.yaml; such a result is a rehearsal and stays in `folder`.
        folder: where all work lies; var/bench/controls by default.
    Raises:
        DataError: the code changed while the bench ran.
        UserError: another bench works in the same folder.
    """
    recipe = load_settings(project / "params.yaml", profile=profile)
    settings_digest = digest_value(recipe.model_dump(mode="json", exclude={"system"}))
    place = (folder or project / FOLDER) / settings_digest[:16]
    with workspace_lock(place):
        code = _code_digest(project)
        _prepare_process(recipe)
        graph = load_graph(project)
        by_seed = {}
        for seed in range(recipe.run.seed, recipe.run.seed + seeds):
            by_seed[seed] = SeedSteps(seed_workspace(project, place / f"seed-{seed}"), graph, _seed_settings(recipe, seed, place))

        def check() -> None:
            if _code_digest(project) != code:
                raise DataError(
                    f"one of {', '.join(CODE)} changed while the bench ran, so its parts would not belong together; run it again: "
                    "what the change does not touch is taken over"
                )

        run_steps(((seed, list(steps)) for seed, steps in by_seed.items()), project=project, folder=place, console=console, check=check)
    every = [steps.settings for steps in by_seed.values()]
    rows = compare_all(every, lambda settings, model, suite: by_seed[settings.run.seed].scores(model, suite))
    details = {str(seed): {"ratios": steps.ratios(), "compute": steps.compute(), "answers": steps.answers()} for seed, steps in by_seed.items()}
    outcome = make_outcome(
        rows, project=project, seeds=every, settings_digest=settings_digest, profile=profile.name if profile else None, details=details
    )
    path = store_outcome(outcome, place if profile else project / RESULTS)
    print_table(outcome, console)
    print(last_line(outcome, path.relative_to(project) if path.is_relative_to(project) else path), flush=True)
    return path


def _prepare_process(recipe: Settings) -> None:
    """Set torch up as a stage's worker does, and keep transformers' bars from the display."""
    from transformers.utils.logging import disable_progress_bar

    prepare_torch(recipe.run.threads)
    disable_progress_bar()


def _seed_settings(recipe: Settings, seed: int, place: Path) -> Settings:
    """Return the recipe at a seed, with one artifact store for all seeds."""
    run = recipe.run.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"run": run, "system": recipe.system.model_copy(update={"store": str(place.absolute() / "store")})})


def _code_digest(project: Path) -> str:
    return digest_value([path_digest(project, path, user="controls of the bench") for path in CODE])
