"""Commands of what happened: promotions, where versions came from, who saw a record, what was spent; withdrawals, running again."""

import sys
from typing import Annotated

import typer

from components.errors import SettingsError
from flows.command_line.app import app, project_root, wide_console


@app.command(epilog="Examples: `quarkmed history`; `quarkmed history --gate` (with the gate's table of each decision).")
def history(
    gate: Annotated[bool, typer.Option("--gate", help="print the gate's table of each decision too")] = False,
) -> None:
    """Show the promotion journal: who, when, what and why."""
    from flows.looking import print_history

    print_history(project_root(), shows_gate=gate)


@app.command(epilog="Examples: `quarkmed explain models:/quarkmed@champion`; `quarkmed explain @candidate --json`; `quarkmed explain 3 --check-bytes`.")
def explain(
    version: Annotated[str, typer.Argument(help="models:/quarkmed@champion, @candidate or a version's number")] = "@champion",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with every value in full")] = False,
    check_bytes: Annotated[bool, typer.Option("--check-bytes", help="read every stored model and compare it with its checksum")] = False,
) -> None:
    """Say where a registered version came from: commit, parameters, data versions, parent models, runs, checksums, promotion."""
    from flows.explain_command import explain as explain_version

    explain_version(project_root(), version, as_json=as_json, reads_bytes=check_bytes, console=wide_console())


@app.command(
    name="who-used",
    epilog="Examples: `quarkmed who-used record-croup-02` (a patient's record); `quarkmed who-used 5a293ed5` (a data version by its DVC md5); "
    "`quarkmed who-used treated_with:croup:dexamethasone` (a triple).",
)
def who_used(
    asked: Annotated[str, typer.Argument(help="DVC md5 of a data version (7 digits or more), or the id of a document, patient's record, query, case, sample or triple")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with every value in full")] = False,
) -> None:
    """Say which model versions saw a data version or an id, in which stage and in which output."""
    from flows.who_used_command import who_used as print_usage

    print_usage(project_root(), asked, as_json=as_json, console=wide_console())


@app.command(epilog="Examples: `quarkmed spent`; `quarkmed spent --run 20260101-020000-ab12 --json`.")
def spent(
    run: Annotated[str | None, typer.Option(help="a run's id; all runs where none is named")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say how many GPU-hours the pods of each run and stage used on a cluster."""
    from flows.spent_command import spent as print_spent

    print_spent(project_root(), run=run, as_json=as_json, console=wide_console())


@app.command(
    epilog="Examples: `quarkmed forget record-croup-02 --look` (shows, changes nothing); `quarkmed forget record-croup-02 --why 'consent withdrawn'` "
    "(withdraws; the next retrain builds without it); `quarkmed forget record-croup-02 --purge` (asks, then deletes every copy)."
)
def forget(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="of a document, a patient's record or a query")],
    why: Annotated[str, typer.Option(help="the reason that is kept with the id; no names")] = "consent withdrawn",
    who: Annotated[str | None, typer.Option(help="who withdraws it; otherwise user@machine")] = None,
    look: Annotated[bool, typer.Option("--look", help="only show what it would mean")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="delete the stored copies, after a question")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="with --purge: ask nothing")] = False,
    champion_too: Annotated[bool, typer.Option("--champion-too", help="with --purge: delete the champion's model as well")] = False,
    ids_too: Annotated[bool, typer.Option("--ids-too", help="with --purge: delete the index of ids as well")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with every copy")] = False,
) -> None:
    """Withdraw a record or document: the next retrain builds without it; show who saw it and where copies lie; purge them."""
    from flows.forget_command import Wanted
    from flows.forget_command import forget as withdraw

    if look and purge:
        raise SettingsError("--look changes nothing and --purge deletes; leave one of them out")
    wanted = Wanted(marks=not look, purges=purge, is_sure=yes, with_champion=champion_too, with_ids=ids_too)
    withdraw(project_root(), identifier, why=why, who=who, wanted=wanted, as_json=as_json, console=wide_console())


@app.command(
    epilog="Examples: `quarkmed reproduce @champion --until curate`; `quarkmed reproduce 3 --stages sources,curate,knowledge`; "
    "`quarkmed reproduce 20260101-031500-a17a` (a kept run; every stage, as long as a retrain takes)."
)
def reproduce(
    version: Annotated[str, typer.Argument(help="models:/quarkmed@champion, @candidate, a version's number, or the id of a kept run")],
    stages: Annotated[str, typer.Option(help="only these stages, with commas between; their inputs come from the version's data")] = "",
    until: Annotated[str | None, typer.Option(help="the stages up to and with this one")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the workspace even where all is equal")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Run a version's stages again in a clean workspace; say which digests are equal; exit code 1 where one is not."""
    from flows.reproduce_command import reproduce as run_again

    if stages and until:
        raise SettingsError("--stages and --until both say which stages run; leave one of them out")
    names = tuple(name.strip() for name in stages.split(",") if name.strip())
    if not run_again(project_root(), version, stages=names, until=until, keeps=keep, as_json=as_json, console=wide_console()):
        sys.exit(1)
