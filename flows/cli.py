"""The command line `quarkmed`. Nothing heavy is imported until a command runs, so that `--help` answers at once.

Every failure ends in one line, the last one said, and the exit code of its class (components/errors.py); a traceback of
anything unexpected goes to var/logs/.
"""

import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import QuarkmedError, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 160  # of tables in a file or a pipe
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Raw data to a promoted medical language model, in one command.")


@app.command(
    epilog="Examples: `quarkmed retrain`; `quarkmed retrain --dry-run --set ift.steps=400` plans a run with another value; "
    "`quarkmed retrain --revision main --from-stage sft --promote ask` runs the last commit of main anew from sft and lets a person decide."
)
def retrain(
    profile: Annotated[str | None, typer.Option(help="laptop, single-gpu or tiny: values laid over params.yaml *")] = None,
    revision: Annotated[str | None, typer.Option(help="branch, tag or commit to run instead of what lies in the folder *")] = None,
    data_revision: Annotated[str | None, typer.Option(help="branch, tag or commit whose data/ is taken *")] = None,
    from_stage: Annotated[str | None, typer.Option(help="run this stage, and what its outputs lead to, although nothing changed *")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value laid over params.yaml; may be given many times *")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say which stages would run and why")] = False,
    budget: Annotated[float, typer.Option(min=0, help="GPU-hours the run may spend; 0: as params.yaml says")] = 0.0,
    promote: Annotated[str | None, typer.Option(help="of a model that passes the gate: never, ask or auto; as params.yaml says where not given")] = None,
) -> None:
    """Bring every stage up to date, evaluate, and promote the model where the gate lets it.

    Options marked * make it work in a workspace of its own, at the last commit or the revision named: your files stay as they are.
    """
    from flows.retrain_options import asked_of

    root, console = project_root(), _wide_console()
    choices = {"profile": profile, "revision": revision, "data_revision": data_revision, "from_stage": from_stage, "overrides": overrides}
    asked = asked_of(root, {name: value for name, value in choices.items() if value}, dry_run=dry_run, budget_gpu_hours=budget, promote=promote)
    if dry_run and asked.elsewhere is None:
        from flows.looking import print_plan

        print_plan(root, console=console)
        return
    from flows.run_command import run_retrain

    run_retrain(root, console=console, asked=asked)


@app.command(epilog="Examples: `quarkmed stage ift`; `quarkmed stage ift --micro-divisor 2` after its memory was exhausted, which changes no more than last bits.")
def stage(
    name: Annotated[str, typer.Argument(help="a stage of dvc.yaml")],
    micro_divisor: Annotated[int, typer.Option("--micro-divisor", min=1, max=64, help="divide micro_tokens by this: smaller passes, same step, same key")] = 1,
) -> None:
    """Run one stage here and now, in this process (or under torchrun, on all its processes); what `dvc repro` calls."""
    from components.launch.ranked_stage import execute_ranked_stage, is_launched
    from components.launch.torch_setup import prepare_torch
    from components.observing.run_log import open_process_log
    from components.pipeline.running import execute_stage
    from components.recorder import read_warnings
    from components.settings.settings import load_settings
    from components.training.preemption import stop_signals

    root = project_root()
    settings = load_settings(root / "params.yaml")
    open_process_log()
    prepare_torch(settings.run.threads)
    with stop_signals(signal.SIGTERM, signal.SIGINT, grace_seconds=settings.system.grace_seconds):
        done = (execute_ranked_stage if is_launched() else execute_stage)(name, root=str(root), micro_divisor=micro_divisor)
    if done is None:
        return
    for warning in read_warnings(Path(done["folder"])):
        print(f"note: {warning}")
    print(f"{name}: {done['seconds']:.1f} s; its record: {done['folder']}")


@app.command()
def plan() -> None:
    """Say which stages would run, why, and how long each took last time."""
    from flows.looking import print_plan

    print_plan(project_root())


@app.command()
def status() -> None:
    """Say what runs, what the last run did, and which model is champion."""
    from flows.looking import print_status

    print_status(project_root())


@app.command(epilog="Examples: `quarkmed logs` prints the newest run's; `quarkmed logs 20261125-154018 --stage ift`; `quarkmed logs --level warning`; `quarkmed logs --follow`.")
def logs(
    run: Annotated[str | None, typer.Argument(help="a run's id, or its beginning; without: the newest")] = None,
    stage: Annotated[str | None, typer.Option(help="only lines of this stage")] = None,
    level: Annotated[str, typer.Option(help="info, warning or error: this and graver")] = "info",
    follow: Annotated[bool, typer.Option("--follow", help="go on printing until the run ends")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the lines as they are, JSON")] = False,
) -> None:
    """Print what all processes of a run logged, in the order of time: stage, step, and what happened."""
    from flows.logs_command import logs as print_logs

    print_logs(project_root(), run, stage=stage, level=level, follows=follow, as_json=as_json, console=_wide_console())


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

    explain_version(project_root(), version, as_json=as_json, reads_bytes=check_bytes, console=_wide_console())


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

    print_usage(project_root(), asked, as_json=as_json, console=_wide_console())


@app.command(epilog="Examples: `quarkmed spent`; `quarkmed spent --run 20260101-020000-ab12 --json`.")
def spent(
    run: Annotated[str | None, typer.Option(help="a run's id; all runs where none is named")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say how many GPU-hours the pods of each run and stage used on a cluster."""
    from flows.spent_command import spent as print_spent

    print_spent(project_root(), run=run, as_json=as_json, console=_wide_console())


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
    withdraw(project_root(), identifier, why=why, who=who, wanted=wanted, as_json=as_json, console=_wide_console())


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
    if not run_again(project_root(), version, stages=names, until=until, keeps=keep, as_json=as_json, console=_wide_console()):
        sys.exit(1)


@app.command()
def doctor(
    free_gib: Annotated[float, typer.Option("--free-gib", min=0, help="disk below which it warns, in GiB")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Look at every part, each line ok or what to do; exit code 1 where a line is not ok."""
    from flows.doctor_command import doctor as look

    if not look(project_root(), free_gib=free_gib, as_json=as_json, console=_wide_console()):
        sys.exit(1)


@app.command(epilog="Examples: `quarkmed metrics` serves on http://127.0.0.1:9217/metrics until Ctrl-C; `quarkmed metrics --once` prints the page; infra/prometheus/ scrapes it.")
def metrics(
    port: Annotated[int, typer.Option(min=0, max=65535, help="to listen on, loopback only; 0: a free one")] = 9217,
    once: Annotated[bool, typer.Option("--once", help="print the page and end")] = False,
) -> None:
    """Serve what Prometheus asks: runs by outcome, stages' seconds and memory, the champion, open promotions, disk."""
    from flows.metrics_command import metrics as serve_metrics

    serve_metrics(project_root(), port=port, once=once)


@app.command()
def up() -> None:
    """Start the Prefect and MLflow servers and the process that runs deployments on this machine; print their addresses."""
    from flows.service_commands import bring_up

    bring_up(project_root())


@app.command()
def down() -> None:
    """Stop exactly what `up` started; runs at work save first, and go on at the next `up`."""
    from flows.service_commands import bring_down

    bring_down(project_root())


@app.command(epilog="Examples: `quarkmed automations` shows which are there; `quarkmed automations --notify slack-webhook/team` applies them.")
def automations(
    notify: Annotated[str | None, typer.Option(help="TYPE/NAME of the notification block that sends them, made in the Prefect page")] = None,
) -> None:
    """Show, or bring to the Prefect server, the notifications of infra/automations.yaml: a failed run, a promotion that waits."""
    from flows.automations_command import show_automations

    show_automations(project_root(), notify=notify, console=_wide_console())


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

        evaluate_version(project_root(), model, console=_wide_console())
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

    promote_version(project_root(), version, why=why, overrules=overrule, console=_wide_console())


@app.command(epilog="Examples: `quarkmed rollback --why 'wrong doses in the wards'` goes back to the champion before; `quarkmed rollback --to 2 --why '…'`.")
def rollback(
    why: Annotated[str, typer.Option("--why", help="your reason; the journal and the model card keep it with your name")],
    to: Annotated[str, typer.Option("--to", help="a version that was champion once; the one before where not given")] = "",
) -> None:
    """Make an earlier champion the champion again; refused where its bytes are not in the store as published."""
    from flows.promotion_commands import rollback as roll_back

    roll_back(project_root(), to=to or None, why=why, console=_wide_console())


@app.command(epilog="Examples: `quarkmed reconcile` after a kill or a power cut; `quarkmed reconcile --elsewhere` where nothing works on another machine.")
def reconcile(
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="count runs of other hosts as dead too")] = False,
) -> None:
    """Finish or abort open promotions, set aliases right, close runs whose process is gone; say each thing done."""
    from flows.promotion_commands import reconcile as reconcile_records

    reconcile_records(project_root(), elsewhere=elsewhere, console=_wide_console())


@app.command(epilog="Examples: `quarkmed card @champion`; `quarkmed card 3 > card.md`.")
def card(
    version: Annotated[str, typer.Argument(help="a registered version: 3, @champion or models:/quarkmed/3")] = "@champion",
) -> None:
    """Print a version's model card: what it was made from, how it was judged, where it fails, who let it in, what it cost."""
    from flows.promotion_commands import card as print_card

    print_card(project_root(), version)


@app.command(
    epilog="Examples: `quarkmed train docs/examples/doses/recipe.yaml` tunes by a recipe; run again after a kill, it goes on; "
    "`quarkmed train --options` prints every key with default, unit and source. docs/training.md explains."
)
def train(
    recipe: Annotated[Path | None, typer.Argument(help="a YAML file: kind, model, data, output, and one section of settings")] = None,
    options: Annotated[bool, typer.Option("--options", help="print every key a recipe may have, as a table, and end")] = False,
) -> None:
    """Tune a model folder by a recipe: GRPO with your own reward function, supervised, or a reward model; under torchrun on all its processes."""
    if options:
        from components.settings.options import options_table

        print(options_table())
        return
    if recipe is None:
        raise SettingsError("train: name a recipe (a YAML file), or ask for --options; docs/training.md shows one of ten lines")
    from rich.console import Console

    from flows.train_command import train as run_training

    console = Console()
    run_training(recipe, console=console if console.is_terminal else Console(width=LOG_WIDTH))


@app.command(
    epilog="Examples: `quarkmed size infra/sizing/qwen3-32b.json` plans 70k + 80k prompts on H100 nodes; `--plan my-plan.yaml` changes machines and lengths; "
    "`quarkmed size CONFIG --measured <output>/record` puts the formulas beside a run on this machine."
)
def size(
    config: Annotated[Path, typer.Argument(help="a Hugging Face config.json, or its folder")],
    plan: Annotated[Path | None, typer.Option(help="a YAML file with hardware, assumed, trainer, stages, nodes; components/settings/sizing.py")] = None,
    measured: Annotated[Path | None, typer.Option(help="the record folder of a GRPO run of this model on this machine")] = None,
    precision: Annotated[str, typer.Option(help="of that run: auto, float32 or bfloat16")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="of that run; 0: one a core")] = 0,
    gigaflops: Annotated[float, typer.Option(min=0, help="products its machine computes, 10⁹ operations a second; 0: measured here")] = 0.0,
    gigabytes: Annotated[float, typer.Option(min=0, help="what it reads from memory, 10⁹ bytes a second; 0: measured here")] = 0.0,
) -> None:
    """Say what training a model costs, on paper: memory, tokens/s, nodes, hours; or compare the formulas with a run."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise SettingsError(f"--precision: {precision!r} is none; auto, float32 or bfloat16")
    from rich.console import Console

    from flows.size_command import RunSpeed
    from flows.size_command import size as print_size

    console = Console()
    speed = RunSpeed(precision, threads, gigaflops, gigabytes)
    print_size(config, plan=plan, measured=measured, speed=speed, console=console if console.is_terminal else Console(width=LOG_WIDTH))


def _wide_console() -> "Console":
    """Return a console of the terminal's width; of `LOG_WIDTH` where the output is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def project_root() -> Path:
    """Return the nearest folder upwards that holds dvc.yaml and params.yaml.

    Raises:
        SettingsError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise SettingsError(f"{here}: no dvc.yaml and params.yaml here or above; run quarkmed in the project's folder")


def main() -> None:
    """Run a command; end with one message and its exit code."""
    try:
        app()
    except QuarkmedError as error:
        print(f"quarkmed: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("quarkmed: stopped; run the command again to go on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        from components.launch.failures import classify_failure

        known = classify_failure(error)
        print(f"quarkmed: {_one_line(known)}{_keep_traceback() if type(known) is QuarkmedError else ''}", file=sys.stderr)
        sys.exit(known.exit_code)


def _one_line(error: Exception) -> str:
    """Return an error's words as one line, so that the last line said names the cause however many the words had."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _keep_traceback() -> str:
    """Write what went wrong to a log and return where it is, in words; nothing where it cannot be written."""
    try:
        folder = project_root() / "var" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"failure-{int(time.time())}.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except (OSError, SettingsError):
        return ""
    return f" (traceback in {path})"


if __name__ == "__main__":
    main()
