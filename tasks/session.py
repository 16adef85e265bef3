"""What one `retrain` holds open: the workspace, the launcher of stages, the tracking process and the run's event log."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.errors import QuarkmedError
from components.launch.launcher import Launcher
from components.launch.local_process import LocalProcess
from components.pipeline.events import RUNS, RunEvents, read_events, stage_endings
from components.pipeline.workspace import Workspace
from components.registry.process_names import process_name
from components.settings.settings import Settings, load_settings
from components.storage.files import write_json
from components.tracking.dead_runs import PROCESS
from components.tracking.replay import StageReport
from components.tracking.unreplayed import REPORT, unreplayed_reports
from tasks.flow_processes import forget_flow_run, note_flow_run


class RetrainSession:
    """Opened by the flow, handed to every task; closing it waits for the tracking process and ends both processes."""

    def __init__(
        self, root: Path, *, run: str, settings: Settings, workspace: Workspace, events: RunEvents, launcher: Launcher, anew: frozenset[str] = frozenset()
    ) -> None:
        """Args: anew: stages that run in this run whether or not anything changed."""
        self.root = root
        self.anew = anew
        self.run = run
        self.settings = settings
        self.workspace = workspace
        self.events = events
        self.launcher = launcher
        self.tracker = LocalProcess(root, log=events.folder / "logs" / "tracking.log", niceness=5)
        self._replays: list[int] = []
        self._flow_run = ""

    def start(self, *, tags: dict[str, str]) -> None:
        """Close runs a kill left open, open this one in MLflow and replay what an interrupted one left behind, while the stages begin."""
        self._flow_run = note_flow_run(self.root)
        self._replays.append(self.tracker.submit("components.tracking.dead_runs:close_dead_runs", root=str(self.root), run=self.run))
        named = {**tags, PROCESS: process_name()}
        self._replays.append(self.tracker.submit("components.tracking.replay:start_run", root=str(self.root), run=self.run, tags=named))
        for report in unreplayed_reports(self.root):
            self._submit_replay(report)

    def replay(self, report: StageReport) -> None:
        """Keep a stage's report beside its record and have it replayed into MLflow while the next stage runs."""
        write_json(Path(report.folder) / REPORT, asdict(report))
        self._submit_replay(asdict(report))

    def wait_for_tracking(self) -> None:
        """Wait until everything submitted stands in MLflow; a failure of tracking is noted, never raised."""
        for number in self._replays:
            try:
                self._note(self.tracker.result(number))
            except QuarkmedError as error:
                self.events.note(f"MLflow: {error}; the records are kept and replayed by the next run")
                if not self.tracker.is_alive:
                    break
        self._replays = []

    def track(self, function: str, **arguments: Any) -> Any:
        """Run a function in the tracking process after everything submitted to it."""
        self.wait_for_tracking()
        return self.tracker.call(function, **arguments)

    def is_due_anew(self, name: str) -> bool:
        """Say whether a stage was asked to run anew and has not done so in this run."""
        return name in self.anew and self.status_of(name) not in ("ran", "resumed")

    def status_of(self, name: str) -> str | None:
        """Return how a stage last stood in this run, None where it did not come up yet."""
        return next((item["status"] for item in stage_endings(read_events(self.events.folder)) if item["name"] == name), None)

    def close(self) -> None:
        """End both processes."""
        self.launcher.close()
        self.tracker.close()
        forget_flow_run(self.root, self._flow_run)

    def _note(self, answer: Any) -> None:
        """Note the sentences of a repair; other answers are ids."""
        for sentence in answer if isinstance(answer, list) else []:
            self.events.note(sentence)

    def _submit_replay(self, report: dict[str, Any]) -> None:
        self._replays.append(self.tracker.submit("components.tracking.replay:replay_stage", root=str(self.root), run=self.run, report=report))


def open_session(root: Path, run: str, launcher: Launcher, *, settings: Settings | None = None, from_stage: str | None = None) -> RetrainSession:
    """Return the session of a run whose stages the launcher runs, with DVC's workspace.

    Args:
        settings: those of the folder's params.yaml where None.
        from_stage: this stage, and what its outputs lead to, runs whether or not anything changed.
    Raises:
        SettingsError: bad settings, or dvc.yaml has no such stage.
    """
    settings = settings or load_settings(root / "params.yaml")
    events, workspace = RunEvents(root / RUNS / run), Workspace(root, settings)
    anew = frozenset(workspace.graph.downstream(from_stage)) if from_stage else frozenset()
    return RetrainSession(root, run=run, settings=settings, workspace=workspace, events=events, launcher=launcher, anew=anew)
