"""Run a recipe from its file to a tuned model: refuse early, go on after a kill, write the model whole.

    <output>/model/           the tuned model, a safetensors folder that transformers loads; appears at the end
    <output>/record/          metrics, completions tables: record.jsonl, files/; what it used: usage.jsonl
    <output>/logs/            what happened, for machines, where the caller keeps a log
    <output>/.checkpoints/    progress; gone when the run has ended
    <output>/identity.json    digests of everything the result depends on
    <output>/finished.json    written last: final numbers

An output that holds the work of another recipe is never touched: the run is refused and told what differs.
"""

import contextlib
import fcntl
import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import SettingsError, UserError
from components.lineage import digest_value
from components.recorder import Recorder
from components.settings.recipes import Recipe, load_recipe
from components.storage.checkpoints import CheckpointFolder
from components.storage.files import atomic_folder, read_json, write_json
from components.storage.read_checkpoints import ReadCheckpoints
from components.training.recipes.identity import changed_parts, recipe_identity
from components.training.recipes.inputs import PolicyInputs, TuningInputs, read_inputs
from components.training.recipes.model_folders import load_folder, model_folder
from components.training.recipes.outcome import Outcome
from components.training.recipes.processes import Processes, processes_of

MODEL, RECORD, LOGS, CHECKPOINTS, IDENTITY, FINISHED = "model", "record", "logs", ".checkpoints", "identity.json", "finished.json"
KINDS = {kind: f"components.training.recipes.{kind}" for kind in ("policy", "supervised", "reward_model", "preference")}
Heard = Callable[[Mapping[str, Any]], None]  # is handed every entry of the record
Watch = Callable[[Path], AbstractContextManager[Heard | None]]  # of the record's folder; stands around the training


@dataclass(frozen=True)
class RecipeRun:
    """How a run ended. `was_finished` says that an earlier run had made the same result, which stands."""

    recipe: Recipe
    output: Path
    summary: dict[str, float]
    seconds: float
    was_finished: bool


@dataclass(frozen=True)
class PreparedRun:
    """A recipe that was found sound: everything short of the model's weights is read and checked."""

    recipe: Recipe
    folder: Path  # of the model to start from
    threads: int
    identity: dict[str, Any]
    inputs: PolicyInputs | TuningInputs
    processes: Processes = field(default_factory=Processes)

    @property
    def output(self) -> Path:
        """The output folder."""
        return Path(self.recipe.output)


def prepare_recipe(path: Path) -> PreparedRun:
    """Read a recipe and check what it names; quick, as no weights are read into a model.

    Raises:
        SettingsError, DataError: see `load_recipe`, `processes_of`, `model_folder`, `read_inputs`; or the output holds the work of another recipe.
    """
    recipe = load_recipe(path)
    processes = processes_of(recipe)
    folder = model_folder(Path(recipe.model))
    inputs = read_inputs(recipe)
    threads = recipe.threads or max(1, len(os.sched_getaffinity(0)) // processes.here)
    prepared = PreparedRun(recipe, folder, threads, recipe_identity(recipe, folder=folder, threads=threads), inputs, processes)
    refuse_other_work(prepared)
    return prepared


def refuse_other_work(prepared: PreparedRun) -> None:
    """Raise where the output folder holds something other than this recipe's own work.

    Raises:
        SettingsError: it does; says what differs.
    """
    output = prepared.output
    if not output.exists():
        return
    if not (output / IDENTITY).is_file():
        if output.is_dir() and all(item.name in (".lock", LOGS) for item in output.iterdir()):
            return
        raise SettingsError(f"output: {output}: exists and is not the output of a recipe; name another folder")
    changed = changed_parts(read_json(output / IDENTITY), prepared.identity)
    if changed:
        state = "the result" if (output / FINISHED).is_file() else "the unfinished work"
        raise SettingsError(
            f"output: {output}: holds {state} of a recipe that differs in {', '.join(changed)}; name another output, or delete the folder to start anew"
        )


@contextlib.contextmanager
def unwatched(folder: Path) -> Iterator[None]:
    """Keep nothing of a run beside its record."""
    yield None


def run_recipe(prepared: PreparedRun, *, watch: Watch = unwatched) -> RecipeRun:
    """Train, or go on where an interrupted run of the same recipe stopped; a finished one is reported as it is.

    Args:
        watch: what stands around the work: logs and samples.
    Raises:
        UserError: another process works on the output; QuarkmedError: whatever the training raises.
    """
    output = prepared.output
    with _output_lock(output):
        if _is_finished(output):
            done = read_json(output / FINISHED)
            return RecipeRun(prepared.recipe, output, done["summary"], done["seconds"], was_finished=True)
        started = time.monotonic()
        checkpoints = CheckpointFolder(output / CHECKPOINTS, key=digest_value(prepared.identity))
        if not any((output / CHECKPOINTS).glob("**/step-*")):
            shutil.rmtree(output / RECORD, ignore_errors=True)
        write_json(output / IDENTITY, prepared.identity)
        (output / RECORD).mkdir(exist_ok=True)
        with watch(output / RECORD) as heard:
            recorder = Recorder(output / RECORD, heard=heard)
            outcome = _tune(prepared, recorder=recorder, checkpoints=checkpoints)
            with atomic_folder(output / MODEL) as folder:
                outcome.write(folder)
            recorder.summary(outcome.summary)
        seconds = time.monotonic() - started
        write_json(output / FINISHED, {"summary": outcome.summary, "seconds": seconds})
        checkpoints.clear()
        return RecipeRun(prepared.recipe, output, outcome.summary, seconds, was_finished=False)


def follow_recipe(prepared: PreparedRun, *, watch: Watch = unwatched) -> None:
    """Train beside process 0, which does `run_recipe`, and keep nothing but what `watch` does; return at once where that has nothing to do.

    Raises:
        QuarkmedError: whatever the training raises.
    """
    if _is_finished(prepared.output):
        return
    checkpoints = ReadCheckpoints(prepared.output / CHECKPOINTS, key=digest_value(prepared.identity))
    with tempfile.TemporaryDirectory() as scratch, watch(prepared.output / RECORD) as heard:
        _tune(prepared, recorder=Recorder(Path(scratch), heard=heard), checkpoints=checkpoints)


def _tune(prepared: PreparedRun, *, recorder: Recorder, checkpoints: CheckpointFolder) -> Outcome:
    model, tokenizer = load_folder(prepared.folder)
    tune = importlib.import_module(KINDS[prepared.recipe.kind]).run
    outcome: Outcome = tune(model, tokenizer, prepared.recipe, prepared.inputs, recorder=recorder, checkpoints=checkpoints)
    return outcome


def _is_finished(output: Path) -> bool:
    return (output / FINISHED).is_file() and (output / MODEL / "config.json").is_file()


@contextlib.contextmanager
def _output_lock(output: Path) -> Iterator[None]:
    """Hold the output for one run; the kernel lets go when the process dies."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"output: {output}: another `quarkmed train` works there; wait for it, or name another output") from None
        yield
