"""A run's warm process without torch, which no quick stage needs and which takes seconds to import."""

from components.launch import stage_launcher
from components.launch.stage_launcher import StageLauncher


def leave_torch_out() -> None:
    """From now on, start warm processes in this process without torch."""
    StageLauncher.warm_up = _start


def _start(launcher: StageLauncher) -> None:
    launcher._stamp = stage_launcher._code_stamp(launcher.root)
    launcher._process.start()
