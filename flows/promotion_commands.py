"""The commands that decide on versions, or show them: promote, rollback, reconcile, evaluate, card. Who decides is the user."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from components.errors import UserError
from components.registry.assessment import Assessment
from components.settings.settings import load_settings
from flows.tables import print_table


def promote(root: Path, version: str, *, why: str, overrules: bool, console: Console) -> None:
    """Show a version against the champion and promote it.

    Raises:
        UserError: the gate did not pass and `overrules` is not set, or a veto stands against the version.
    """
    from components.registry.approval import Answer, settle_by_person
    from components.registry.assessment import assess_version
    from components.registry.gate import failed_vetoes
    from components.registry.promotion import user_name

    if not why.strip():
        raise UserError("--why is empty: the promotion journal keeps a reason; say it in a sentence")
    assessed = assess_version(root, version)
    print_assessment(assessed, console=console)
    verdict = assessed.verdict
    if verdict is not None and not verdict["is_passed"] and not failed_vetoes(verdict) and not overrules:
        failed = "; ".join(item["sentence"] for item in verdict["suites"] if not item["is_passed"])
        raise UserError(f"the gate did not pass, so nothing was promoted: {failed}. `--overrule` promotes all the same, and the journal keeps that you did")
    settled = settle_by_person(root, assessed, Answer("promote", user_name(), why))
    _say(console, settled["said"])
    console.print(f"{settled['model']} version {settled['version']} is the champion now.", style="bold", highlight=False)


def rollback(root: Path, *, to: str | None, why: str, console: Console) -> None:
    """Make an earlier champion the champion again."""
    from components.registry.promotion import user_name
    from components.registry.rollback import roll_back

    settled = roll_back(root, who=user_name(), why=why, to=to)
    _say(console, settled["said"])
    console.print(f"{settled['model']} version {settled['version']} is the champion again, instead of version {settled['before']}.", style="bold", highlight=False)


def reconcile(root: Path, *, elsewhere: bool, console: Console) -> None:
    """Finish or abort what kills left open, and print each thing done."""
    from flows.reconciling import reconcile_all

    said = reconcile_all(root, elsewhere=elsewhere)
    _say(console, said or ["nothing was open"])


def evaluate_version(root: Path, version: str, *, console: Console) -> None:
    """Score a registered version against the champion, print the table and keep it in MLflow."""
    from components.registry.assessment import assess_version
    from components.registry.assessment_record import record_assessment

    assessed = assess_version(root, version)
    print_assessment(assessed, console=console)
    console.print(f"kept in MLflow as run {record_assessment(root, assessed)}; no alias was changed", highlight=False)


def card(root: Path, version: str) -> None:
    """Print the model card of a version."""
    from components.registry.card_keeping import read_card
    from components.registry.version_reading import open_registry

    print(read_card(root, open_registry(root), version, model=load_settings(root / "params.yaml").system.model_name), end="")


def print_assessment(assessed: Assessment, *, console: Console) -> None:
    """Print the gate's table and sentences, or every suite where there is nothing to compare."""
    from components.registry.gate_table import COLUMNS, gate_rows

    against = f"version {assessed.champion}, the champion" if assessed.champion else "base, since there is no champion"
    title = f"{assessed.model} version {assessed.version} against {against}"
    if assessed.verdict is None:
        mine = assessed.metrics[f"version {assessed.version}"]
        rows = [(suite, f"{item['value']:.3f}", f"[{item['low']:.3f}, {item['high']:.3f}]", str(item["n"])) for suite, item in mine.items()]
        print_table(console, f"{assessed.model} version {assessed.version}: the champion's bytes", ("suite", "value", "interval", "items"), rows)
        return
    print_table(console, title, COLUMNS, gate_rows(assessed.verdict))
    _say(console, assessed.verdict["reasons"])


def _say(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(f"  - {sentence}", highlight=False, markup=False)
