"""`quarkmed forget`: withdraw an id, show what follows, and purge its stored copies where that is asked for and confirmed."""

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from components.errors import UserError
from flows.run_folder import workspace_lock
from flows.tables import print_table

if TYPE_CHECKING:
    from components.provenance.executions import Reached
    from components.provenance.purge_journal import PurgeJournal
    from components.provenance.stored_copies import Copy
    from components.provenance.withdrawal import Withdrawn

NO_TEXT = "not listed, since they hold ids and numbers only: dvc.lock, the kept runs in git, runs/, Prefect's database, MLflow's metrics and tags, the promotion journal"


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    marks: bool
    purges: bool
    is_sure: bool
    with_champion: bool
    with_ids: bool


def forget(root: Path, identifier: str, *, why: str, who: str | None, wanted: Wanted, as_json: bool, console: Console) -> None:
    """Withdraw an id and print what follows; purge where asked.

    Raises:
        UserError: the id is unknown, a run is at work here or in another work tree, or the purge was not confirmed.
    """
    from components.provenance.purge_journal import PurgeJournal
    from components.provenance.withdrawal import purgeable, withdraw

    with _all_locked(root, purges=wanted.purges) if wanted.marks else contextlib.nullcontext():
        journal = PurgeJournal(root)
        if wanted.purges:
            go_on(root, journal, console=console)
        found, reached = withdraw(root, identifier, why=why, who=who, marks=wanted.marks)
        copies = purgeable(found, with_champion=wanted.with_champion, with_ids=wanted.with_ids)
        if as_json:
            print(json.dumps({**asdict(found), "purgeable": len(copies)}, ensure_ascii=False, indent=1))
        else:
            print_withdrawal(found, copies, wanted, console=console)
        if not wanted.purges:
            return
        if not copies:
            console.print("nothing is left to purge", highlight=False)
            return
        _confirm(identifier, copies, is_sure=wanted.is_sure)
        _purge(root, journal, found, reached, copies, who=who, console=console)


def go_on(root: Path, journal: "PurgeJournal", *, console: Console) -> None:
    """Finish what a purge that was killed left."""
    from components.provenance.executions import reached_by
    from components.provenance.purging import carry_out

    for purge in journal.purges():
        if not purge.is_ended:
            left = len(purge.left)
            carry_out(root, purge, journal, reached=reached_by(root, purge.ids))
            console.print(f"purge {purge.number} had been interrupted: the {left} copies that were left are away now", highlight=False)


def print_withdrawal(found: "Withdrawn", copies: "Sequence[Copy]", wanted: Wanted, *, console: Console) -> None:
    """Print what a withdrawal means: repeats, versions, stages, copies, what stops, what is left to a person."""
    identifier, *repeats = found.ids
    state = "would be withdrawn" if not wanted.marks else "withdrawn" if identifier in found.added else "had been withdrawn before"
    console.print(f"{identifier}: {state}", style="bold", highlight=False, markup=False)
    if repeats:
        console.print(f"  with it, since their text is the same: {', '.join(repeats)}", highlight=False, markup=False, soft_wrap=True)
    rows = [(name, model, effect) for name, effects in found.saw.items() for model, effect in effects.items()]
    print_table(console, "seen by", ("version or run", "model or stage", "effect"), rows)
    console.print(f"\nto be rebuilt, by the next `quarkmed retrain`: {', '.join(found.rebuilt)}", highlight=False, soft_wrap=True)
    if found.influenced:
        console.print(f"kept, only chosen, shaped or rewarded by it: models {', '.join(found.influenced)}", highlight=False, soft_wrap=True)
    _print_copies(found, copies, console)
    for title, sentences in (("what stops working once they are purged", found.stops), ("left to you", found.by_hand), ("could not be read, so more copies may lie there", found.unread)):
        if sentences:
            console.print(f"\n{title}", style="bold underline")
        for words in sentences:
            console.print(f"  {words}", highlight=False, markup=False, soft_wrap=True)
    if not wanted.purges:
        console.print("\nnothing was deleted; `--purge` deletes the copies", highlight=False)


def _print_copies(found: "Withdrawn", copies: "Sequence[Copy]", console: Console) -> None:
    taken, counts = set(copies), Counter(copy.place for copy in found.copies)
    rows = [(copy.place, copy.what, _size(copy.bytes), copy.digest or copy.name, "" if copy in taken else "kept") for copy in found.copies]
    console.print(f"\nstored copies: {', '.join(f'{count} {place}' for place, count in counts.items()) or 'none'}", style="bold underline", highlight=False)
    print_table(console, "", ("place", "what", "bytes", "digest, or where it lies", ""), rows)
    if any(copy.place == "store" and copy not in taken for copy in found.copies):
        console.print("kept: the champion's model, which was trained on it; `--champion-too` purges it as well, best after a retrain has replaced it", highlight=False, soft_wrap=True)
    if any(copy.place == "index of ids" and copy not in taken for copy in found.copies):
        console.print("kept: the index of ids, which proves who saw it and holds no text; `--ids-too` purges it as well", highlight=False, soft_wrap=True)
    console.print(NO_TEXT, highlight=False, soft_wrap=True)


def _confirm(identifier: str, copies: "Sequence[Copy]", *, is_sure: bool) -> None:
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise UserError(f"purging {len(copies)} copies cannot be undone; say --yes where nobody can be asked")
    if input(f"\n{len(copies)} copies will be deleted for good. Type {identifier} to go on: ").strip() != identifier:
        raise UserError("not confirmed, so nothing was deleted")


def _purge(root: Path, journal: "PurgeJournal", found: "Withdrawn", reached: "Reached", copies: "Sequence[Copy]", *, who: str | None, console: Console) -> None:
    from components.provenance.purging import carry_out
    from components.registry.promotion import user_name

    started = time.monotonic()
    purge = journal.begin(who=who or user_name(), ids=found.ids, saw=found.saw, copies=copies)
    count = carry_out(root, purge, journal, reached=reached)
    console.print(f"purge {purge.number}: {count} copies deleted in {time.monotonic() - started:.1f} s; its journal: {journal.path}", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _all_locked(root: Path, *, purges: bool) -> Iterator[None]:
    """Hold the folder, and for a purge every other work tree, so that no run makes copies meanwhile."""
    from components.pipeline.worktrees import other_worktrees

    with contextlib.ExitStack() as held:
        for folder in (root, *(other_worktrees(root) if purges else ())):
            held.enter_context(workspace_lock(folder))
        yield


def _size(value: int | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", " ")
