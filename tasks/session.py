"""What one `retrain` holds open: the workspace, the warm stage process, the tracking process and the run's event log."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.errors import QuarkmedError
from components.launch.local_process import LocalProcess
from components.launch.stage_launcher import StageLauncher
from components.pipeline.events import RunEvents
from components.pipeline.workspace import Workspace
from components.registry.process_names import process_name
from components.settings.settings import Settings, load_settings
from components.storage.files import write_json
from components.tracking.dead_runs import PROCESS
from components.tracking.replay import StageReport
from components.tracking.unreplayed import REPORT, unreplayed_reports
from tasks.flow_processes import forget_flow_run, note_flow_run

RUNS = "runs"


class RetrainSession:
    """Opened by the flow, handed to every task; closing it waits for the tracking process and ends both processes."""

    def __init__(self, root: Path, *, run: str, settings: Settings, workspace: Workspace, events: RunEvents, launcher: StageLauncher) -> None:
        self.root = root
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


def open_session(root: Path, run: str, launcher: StageLauncher) -> RetrainSession:
    """Return the session of a run whose stages the launcher runs, with the folder's settings and DVC's workspace."""
    settings = load_settings(root / "params.yaml")
    events = RunEvents(root / RUNS / run)
    return RetrainSession(root, run=run, settings=settings, workspace=Workspace(root, settings), events=events, launcher=launcher)
