"""The commands that only look: plan, status, history, ask, evaluate."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components import layout
from components.errors import UserError
from components.settings.settings import load_settings
from components.storage.artifact_store import ModelReference, read_reference
from components.storage.store_address import open_store


def print_plan(root: Path, *, from_stage: str | None = None, restores: bool = False, console: Console | None = None) -> None:
    """Print each stage, whether it would run and why, and its last duration.

    Args:
        from_stage: this stage, and what its outputs lead to, would run whether or not anything changed.
        restores: first restore what the run cache holds, as a run in a new workspace does.
    """
    from components.pipeline.plan import make_plan
    from components.pipeline.restoring import restore_ahead
    from components.pipeline.workspace import Workspace

    workspace, console = Workspace(root, load_settings(root / "params.yaml")), console or Console()
    anew = frozenset(workspace.graph.downstream(from_stage)) if from_stage else frozenset()
    if restores:
        restore_ahead(workspace, but=anew, restore=lambda name, why: workspace.restore(name) is not None)
    planned = make_plan(workspace, anew=anew)
    table = Table("stage", "would", "last time", "why", header_style="bold", pad_edge=False)
    for item in planned:
        seconds = f"{item.last_seconds:.1f} s" if item.last_seconds is not None else "–"
        table.add_row(item.name, {"run": "run", "maybe": "run, perhaps", "skip": "skip"}[item.action], seconds, "; ".join(item.reasons) or "nothing changed")
    console.print(table)
    known = [item.last_seconds for item in planned if item.action != "skip"]
    total = sum(seconds for seconds in known if seconds is not None)
    if known and None not in known:
        console.print(f"at most about {total / 60:.1f} min of stages' own work, going by last time", highlight=False)
    elif not known:
        console.print("nothing would run", highlight=False)


def print_status(root: Path) -> None:
    """Print the servers, the run at work, the last run and the champion."""
    from components.registry.journal import open_journal
    from flows.own_workspaces import is_note_held, workspace_notes
    from flows.run_folder import run_folder, running_process
    from flows.run_states import newest_state
    from flows.service_commands import all_services, elsewhere, service_word
    from flows.summary import read_or

    for service in all_services(root):
        print(f"{service.name:11} {service_word(root, service)}")
    if (address := elsewhere(root)) is not None:
        print(f"{'mlflow':11} {address} (MLFLOW_TRACKING_URI)")
    owner = running_process(root)
    print(f"retrain     {f'at work (process {owner})' if owner else 'none at work here'}")
    for note in workspace_notes(root):
        word = "at work" if is_note_held(root, note) else "killed; goes on at the next `up` or the same request" if note.status == "open" else f"{note.status}: {note.reason}"
        print(f"  {note.run}  in a workspace of its own, {word}")
    summary = read_or(run_folder(root, "latest") / "summary.json", None)
    if summary:
        ran = [stage["name"] for stage in summary["stages"] if stage["status"] in ("ran", "resumed")]
        print(f"last run    {summary['run']}: {summary['wall_seconds']:.0f} s, ran {', '.join(ran) or 'no stage'}")
    newest = newest_state(root)
    if newest is not None and newest.outcome != "finished":
        advice = "" if newest.outcome == "at work" else "; `quarkmed retrain` goes on from what was saved"
        print(f"newest      {newest.run}: {newest.words}{advice}")
    champion = open_journal(root).champion(load_settings(root / "params.yaml").system.model_name)
    print(f"champion    {f'{champion.model} version {champion.version} since {_moment(champion.time)}' if champion else 'none yet'}")


def print_history(root: Path, *, shows_gate: bool = False) -> None:
    """Print the promotion journal, oldest first, and where asked each decision's gate table below."""
    from components.registry.decision import history
    from components.registry.gate_table import COLUMNS, gate_rows
    from flows.tables import print_table

    table = Table("#", "when", "what", "version", "before", "who", "why", header_style="bold", pad_edge=False)
    entries = history(root)
    for entry in entries:
        reasons = "\n".join(entry["details"].get("reasons", [])) if entry["kind"] != "PREPARED" else ""
        before = entry["champion_before"] or "–"
        table.add_row(str(entry["sequence"]), _moment(entry["time"]), f"{entry['action']} {entry['kind']}", entry["version"], before, entry["who"], reasons)
    console = Console()
    console.print(table)
    for entry in entries if shows_gate else []:
        verdict = entry["details"].get("verdict")
        if verdict and entry["kind"] != "PREPARED":
            title = f"{entry['sequence']}: version {entry['version']} against {verdict['compared_with']}, {entry['action']} {entry['kind']}"
            print_table(console, title, COLUMNS, gate_rows(verdict))


def answer_question(root: Path, question: str, *, model: str, passages: int) -> None:
    """Answer from retrieved passages with the named model, and print its sources."""
    if not (root / layout.INDEX).exists():
        raise UserError(f"{layout.INDEX}: no index yet; run `quarkmed retrain` first")
    reference = named_model(root, model)
    from components.generation.native_sampler import NativeSampler
    from components.modeling.models import load_model
    from components.modeling.tokenizers import load_tokenizer
    from components.retrieval.asking import ask
    from components.retrieval.index import RetrievalIndex

    folder = open_store(root).fetch(reference)
    tokenizer = load_tokenizer(folder)
    sampler = NativeSampler(load_model(folder), tokenizer)
    answer = ask(question, RetrievalIndex.load(root / layout.INDEX), sampler, tokenizer, passages=passages)
    print("\n".join(answer.lines()))
    print("\nA research model on synthetic sources: not medical advice.")


def print_evaluation(root: Path, *, model: str) -> None:
    """Score the named model on the present test items (stored results are read) and print every suite."""
    reference = named_model(root, model)
    from components.evaluation.metrics import suite_metrics
    from components.evaluation.results import read_results
    from components.launch.torch_setup import prepare_torch
    from components.pipeline.champion_scoring import score_champion

    settings = load_settings(root / "params.yaml")
    prepare_torch(settings.run.threads)
    rows = read_results(Path(score_champion(str(root), reference.model_dump())))
    found = suite_metrics(rows, seed=settings.run.seed, confidence=settings.evaluate.confidence, draws=settings.evaluate.bootstrap_draws)
    table = Table("suite", "value", "interval", "items", header_style="bold", pad_edge=False)
    for suite, entry in next(iter(found.values())).items():
        table.add_row(suite, f"{entry['value']:.3f}", f"[{entry['low']:.3f}, {entry['high']:.3f}]", str(entry["n"]))
    Console().print(table)


def named_model(root: Path, model: str) -> ModelReference:
    """Return the reference of a model of the last run, or of the champion (the last model before a first promotion).

    Raises:
        UserError: there is no such model yet.
    """
    from components.registry.decision import CANDIDATE, champion_reference

    if model == "champion":
        champion = champion_reference(root)
        if champion is not None:
            return champion[1]
        model = CANDIDATE
    path: Any = layout.MODELS.get(model)
    if path is None:
        raise UserError(f"no model {model!r}; models: champion, {', '.join(layout.MODELS)}")
    if not (root / path).is_file():
        raise UserError(f"{path}: not made yet; run `quarkmed retrain` first")
    return read_reference(root / path)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
