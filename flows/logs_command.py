"""`quarkmed logs`: the log lines of all processes of a run, in the order of their times; `--follow` until the run ends.

A run is a `retrain`, or a recipe of one's own, which is named by its output folder.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from components.errors import UserError
from components.observing.run_log import LEVELS, SUFFIX, read_logs
from components.pipeline.events import RUNS, last_end, read_events
from components.training.recipes.running import FINISHED, LOGS
from flows.run_folder import newest_run

PERIOD_SECONDS = 0.5
STYLES = {"warning": "yellow", "error": "bold red"}
SHOWN_APART = ("time", "level", "run", "process", "pid", "stage", "step", "rank", "event")


def logs(root: Path, run: str | None, *, stage: str | None, level: str, follows: bool, as_json: bool, console: Console) -> None:
    """Print a run's lines of at least a level.

    Args:
        run: its id, or the beginning of it, or a recipe's output folder; None: the newest.
        stage: only lines of this stage.
    Raises:
        UserError: there is no such run, or no such level.
    """
    if level not in LEVELS:
        raise UserError(f"--level: {level!r} is none; {', '.join(LEVELS)}")
    folder = named_run(root, run)
    lines = _followed(folder) if follows else read_logs(folder / "logs")
    for line in lines:
        if LEVELS.index(line["level"]) >= LEVELS.index(level) and stage in (None, line["stage"]):
            if as_json:
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                console.print(line_text(line), style=STYLES.get(line["level"]), highlight=False, markup=False, soft_wrap=True)


def named_run(root: Path, run: str | None) -> Path:
    """Return the folder of a run.

    Raises:
        UserError: none, or several, begin with what was asked for.
    """
    if run is None:
        found = newest_run(root)
        if found is None:
            raise UserError("no run yet, so no log; `quarkmed retrain` makes one")
        return found
    if (Path(run) / LOGS).is_dir():
        return Path(run).resolve()
    names = sorted(path.name for path in (root / RUNS).glob(f"{run}*") if path.is_dir())
    if run in names:
        names = [run]
    if len(names) != 1:
        what = f"{len(names)} runs begin with {run!r}: {', '.join(names[:5])}" if names else f"no run {run!r} in {root / RUNS}"
        raise UserError(f"{what}; name one, or none for the newest")
    return (root / RUNS / names[0]).resolve()


def line_text(line: Mapping[str, Any]) -> str:
    """Return a line for a person: time, process, where, what."""
    stamp = time.strftime("%H:%M:%S", time.localtime(_seconds(line["time"])))
    process = line["process"]
    where = "" if not line["stage"] else f" {line['stage']}" + (f":{line['step']}" if line["step"] is not None else "")
    values = " ".join(_value(name, value) for name, value in line.items() if name not in SHOWN_APART and value not in (None, ""))
    return f"{stamp} {line['level']:7} {process:8}{where} {line['event']}{f'  {values}' if values else ''}"


def _value(name: str, value: Any) -> str:
    if name == "text":
        return str(value)
    return f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def _followed(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines there are and those that come, until the run has ended; each whole line once."""
    positions: dict[Path, int] = {}
    while True:
        has_ended = last_end(read_events(folder)) is not None or (folder / FINISHED).is_file()
        yield from sorted(_new_lines(folder / "logs", positions), key=lambda line: str(line["time"]))
        if has_ended:
            return
        time.sleep(PERIOD_SECONDS)


def _new_lines(folder: Path, positions: dict[Path, int]) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as stream:
            stream.seek(positions.get(path, 0))
            content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        positions[path] = positions.get(path, 0) + len(whole)
        yield from (json.loads(line) for line in whole.decode("utf-8", errors="replace").splitlines())
