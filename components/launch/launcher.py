"""Where a run's stages are run: a warm local process, several local processes, or a cluster, by `launch` of params.yaml.

A stage that cannot train on several processes, or is told not to (`engine.strategy: single`), runs in the warm process
where the setting says torchrun. What is no stage (scoring a champion, the gate) always does.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from components.errors import SettingsError, UserError
from components.launch.attempts import run_attempts
from components.launch.ends import Attempt, StageBackend
from components.launch.gpu_hours import open_ledger
from components.launch.ranked_stage import ENGINE_SECTION
from components.launch.stage_launcher import StageLauncher
from components.pipeline.events import RUNS, RunEvents
from components.pipeline.graph import StageRow, load_graph
from components.pipeline.running import STAGE_TABLE, StageRun
from components.settings.settings import Settings


class Launcher(Protocol):
    """What a run asks of its launcher."""

    def warm_up(self) -> None:
        """Prepare what the first stage needs, without waiting for it."""

    def run_stage(self, name: str, key: str) -> StageRun:
        """Run a stage to its end, wherever it belongs."""

    def function_call(self, function: str, **arguments: Any) -> Any:
        """Run "module:name" in the warm local process."""

    def close(self) -> None:
        """End what this launcher started."""


def can_train_on_several(row: StageRow, settings: Settings) -> bool:
    """Say whether a stage runs on several processes: its row names the engine, and the engine is not single."""
    return ENGINE_SECTION in row.parameters and not settings.engine.is_single


class RoutingLauncher:
    """Sends each stage to its backend, and tries it again where its end asks for that."""

    def __init__(
        self, root: Path, *, run: str, settings: Settings, log: Path, table: str = STAGE_TABLE, tell: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """
        Args:
            run: the run's id, which jobs and GPU-hours are marked with.
            log: the file that takes what stages print, wherever they run.
            tell: takes a sentence for the run's notes.
        """
        self.root, self.run, self.settings, self.log, self._tell = root, run, settings, log, tell
        self.local = StageLauncher(root, threads=settings.run.threads, log=log, table=table, grace_seconds=settings.system.grace_seconds)
        self._graph = load_graph(root)
        self._others: dict[str, StageBackend] = {}
        _check_stages(settings, self._graph.names)

    def warm_up(self) -> None:
        """Start the warm process, and ask the cluster for its first answer where one is used.

        Raises:
            UserError: the cluster does not answer, or its pods' file is wrong.
        """
        self.local.warm_up()
        if self.settings.launch.uses("kubernetes"):
            self._backend("kubernetes")

    def run_stage(self, name: str, key: str) -> StageRun:
        """Run a stage to its end.

        Raises:
            QuarkmedError: of the class of its last end; UserError where the budget of GPU-hours is spent.
        """
        backend = self._backend(self.backend_name(name))
        return run_attempts(backend, Attempt(name, key), retry=self.settings.launch.retry, may_start=self._check_budget, tell=self._tell)

    def function_call(self, function: str, **arguments: Any) -> Any:
        """Run "module:name" in the warm local process."""
        return self.local.function_call(function, **arguments)

    def close(self) -> None:
        """End the warm process; the others end with their stage."""
        self.local.close()

    def backend_name(self, stage: str) -> str:
        """Return the name of the backend a stage runs on."""
        named = self.settings.launch.backend_of(stage)
        return "local" if named == "torchrun" and not can_train_on_several(self._graph.row(stage), self.settings) else named

    def _backend(self, name: str) -> StageBackend:
        if name == "local":
            return self.local
        if name not in self._others:
            self._others[name] = self._open_torchrun() if name == "torchrun" else self._open_cluster()
        return self._others[name]

    def _open_torchrun(self) -> StageBackend:
        from components.launch.torchrun_backend import TorchrunBackend

        return TorchrunBackend(self.root, processes=self.settings.launch.processes, log=self.log, grace_seconds=self.settings.system.grace_seconds)

    def _open_cluster(self) -> StageBackend:
        from components.launch.kubernetes_backend import open_cluster_backend

        return open_cluster_backend(self.root, run=self.run, settings=self.settings, log=self.log, tell=self._tell)

    def _check_budget(self) -> None:
        budget = self.settings.launch.budget_gpu_hours
        if budget is None:
            return
        spent = open_ledger(self.root).gpu_hours(run=self.run)
        if spent >= budget:
            raise UserError(
                f"launch.budget_gpu_hours: this run has spent {spent:.2f} of its {budget:g} GPU-hours, so no further stage starts; "
                "raise it in params.yaml and run again: it goes on from what was finished (`quarkmed spent` shows where they went)"
            )


def open_launcher(root: Path, *, run: str, settings: Settings, table: str = STAGE_TABLE) -> RoutingLauncher:
    """Return the launcher of a run: what its stages print goes to runs/<run>/logs/stages.log, its sentences to the run's notes."""
    folder = root / RUNS / run
    return RoutingLauncher(root, run=run, settings=settings, log=folder / "logs" / "stages.log", table=table, tell=lambda sentence: RunEvents(folder).note(sentence))


def _check_stages(settings: Settings, names: tuple[str, ...]) -> None:
    for stage in settings.launch.stages:
        if stage not in names:
            near = difflib.get_close_matches(stage, names, n=1)
            raise SettingsError(f"params.yaml: launch.stages names {stage!r}, which dvc.yaml does not; {f'did you mean {near[0]}?' if near else ', '.join(names)}")
