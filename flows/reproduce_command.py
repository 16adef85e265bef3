"""`quarkmed reproduce`: a version's stages run again in a clean workspace, each output's digest then and now."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows.run_folder import workspace_lock
from flows.tables import print_table

if TYPE_CHECKING:
    from components.provenance.reproduction import Reproduction

SHOWN_FILES = 4


def reproduce(root: Path, version: str, *, stages: tuple[str, ...], until: str | None, keeps: bool, as_json: bool, console: Console, command: Sequence[str] = ()) -> bool:
    """Run again, print what came out, and return whether all is equal.

    The workspace is removed where all is equal, unless `keeps`. The project's folder is held meanwhile: two runs at once
    would take each other's processors, and a purge must not take the data away.

    Raises:
        UserError: as `components.provenance.reproduction.reproduce`, or a run is at work here.
    """
    from components.provenance.reproduction import COMMAND, forget_workspace
    from components.provenance.reproduction import reproduce as run_again

    with workspace_lock(root):
        found = run_again(
            root, version, stages=stages, until=until, command=command or COMMAND, report=lambda name: None if as_json else console.print(f"ran {name}", highlight=False)
        )
        is_removed = found.is_equal and not keeps
        if is_removed:
            forget_workspace(root, found)
    if as_json:
        print(json.dumps({**asdict(found), "is_equal": found.is_equal}, ensure_ascii=False, indent=1))
    else:
        print_reproduction(found, console=console)
        if not is_removed:
            console.print(f"the workspace is kept: {found.folder} (`git worktree remove --force` it when done)", highlight=False, soft_wrap=True)
    return found.is_equal


def print_reproduction(found: "Reproduction", *, console: Console) -> None:
    """Print each output with its digests then and now."""
    rows = []
    for stage, outputs in found.stages.items():
        for output in outputs:
            then, now = (output.model_then, output.model_now) if output.model_then else (output.then, output.now)
            files = ", ".join(output.differing[:SHOWN_FILES]) + (f" and {len(output.differing) - SHOWN_FILES} more" if len(output.differing) > SHOWN_FILES else "")
            seconds = f"{found.seconds[stage]:.1f} s"
            rows.append((stage, seconds, output.path, "equal" if output.is_equal else "differs", str(then), "the same" if output.is_equal else str(now), files))
    print_table(console, f"{found.version}, at commit {found.commit}", ("stage", "took", "output", "", "then", "now", "files that differ"), rows)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    outputs = [output for items in found.stages.values() for output in items]
    equal = sum(output.is_equal for output in outputs)
    console.print(f"\n{equal} of {len(outputs)} outputs of {len(found.stages)} stages are equal to the byte", style="bold", highlight=False)
