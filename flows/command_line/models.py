"""Commands of models: ask, score, promote, take back, and read the card."""

from typing import Annotated

import typer

from flows.command_line.app import app, project_root, wide_console


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="a medical question")],
    model: Annotated[str, typer.Option(help="a model of the last run, or `champion`")] = "champion",
    passages: Annotated[int, typer.Option(min=1, max=5, help="passages shown to the model")] = 3,
) -> None:
    """Answer a question from retrieved passages, with citations and their grades. Not medical advice."""
    from flows.looking import answer_question

    answer_question(project_root(), question, model=model, passages=passages)


@app.command(epilog="Examples: `quarkmed evaluate sft` (a model of the last run); `quarkmed evaluate 3` or `quarkmed evaluate @challenger` (a registered version against the champion).")
def evaluate(
    model: Annotated[str, typer.Argument(help="base, ift, sft, cold_start, grpo_reasoning, grpo_general, champion; or a registered version: 3, @challenger, models:/quarkmed/3")] = "champion",
) -> None:
    """Score a model on the present test items: every suite with its interval, a registered version against the champion. Changes no alias."""
    if model.isdigit() or model.startswith(("@", "models:/")):
        from flows.promotion_commands import evaluate_version

        evaluate_version(project_root(), model, console=wide_console())
        return
    from flows.looking import print_evaluation

    print_evaluation(project_root(), model=model)


@app.command(epilog="Examples: `quarkmed promote 3 --why 'better on verified, reviewed by the board'`; `quarkmed promote @challenger --why '…' --overrule`.")
def promote(
    version: Annotated[str, typer.Argument(help="a registered version: 3, @challenger or models:/quarkmed/3")],
    why: Annotated[str, typer.Option("--why", help="your reason; the journal and the model card keep it with your name")],
    overrule: Annotated[bool, typer.Option("--overrule", help="promote though a suite did not pass; a veto cannot be overruled")] = False,
) -> None:
    """Show a version against the champion and make it champion, as yourself."""
    from flows.promotion_commands import promote as promote_version

    promote_version(project_root(), version, why=why, overrules=overrule, console=wide_console())


@app.command(epilog="Examples: `quarkmed rollback --why 'wrong doses in the wards'` goes back to the champion before; `quarkmed rollback --to 2 --why '…'`.")
def rollback(
    why: Annotated[str, typer.Option("--why", help="your reason; the journal and the model card keep it with your name")],
    to: Annotated[str, typer.Option("--to", help="a version that was champion once; the one before where not given")] = "",
) -> None:
    """Make an earlier champion the champion again; refused where its bytes are not in the store as published."""
    from flows.promotion_commands import rollback as roll_back

    roll_back(project_root(), to=to or None, why=why, console=wide_console())


@app.command(epilog="Examples: `quarkmed reconcile` after a kill or a power cut; `quarkmed reconcile --elsewhere` where nothing works on another machine.")
def reconcile(
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="count runs of other hosts as dead too")] = False,
) -> None:
    """Finish or abort open promotions, set aliases right, close runs whose process is gone; say each thing done."""
    from flows.promotion_commands import reconcile as reconcile_records

    reconcile_records(project_root(), elsewhere=elsewhere, console=wide_console())


@app.command(epilog="Examples: `quarkmed card @champion`; `quarkmed card 3 > card.md`.")
def card(
    version: Annotated[str, typer.Argument(help="a registered version: 3, @champion or models:/quarkmed/3")] = "@champion",
) -> None:
    """Print a version's model card: what it was made from, how it was judged, where it fails, who let it in, what it cost."""
    from flows.promotion_commands import card as print_card

    print_card(project_root(), version)
