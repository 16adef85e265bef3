"""The bench, top to bottom: models, then every work at every size and number type in turn with its peer, then the peak."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from bench.machine import cpu_text, git_state
from bench.peer_environments import peer_python
from bench.peer_process import PeerProcess
from bench.training.data import Writer, corpus
from bench.training.models import save_models
from bench.training.outcome import print_table, store, summary
from bench.training.peak import PeakShare, peak_shares
from bench.training.plan import PRECISIONS, SIZES, Plan
from bench.training.progress import Progress
from bench.training.turns import Comparison, rates, take_turns
from bench.training.works import WORKS, Place, Sides, Work
from components.launch.torch_setup import prepare_torch
from components.modeling.tokenizers import encode_prompts, train_tokenizer

FOLDER = "var/bench/training"
CALIBRATION_SEED = 8  # of the prompts on which the chance to stop is set; not those measured


def run_bench(project: Path, plan: Plan, *, works: Sequence[str], with_peak: bool, is_stored: bool, goes_on: bool, console: Console) -> None:
    """Measure, print the table and the last line; store the result if asked.

    Args:
        goes_on: take up what a run of the same commit, plan and processor had measured when it was cut off.
    """
    git = git_state(project)
    of = {"commit": git.sha, "clean": git.is_clean, "plan": dataclasses.asdict(plan) | {"sizes": list(plan.sizes)}, "processor": cpu_text()}
    progress = Progress.begin(project / FOLDER / "progress.json", of=of, goes_on=goes_on)
    prepare_torch(plan.threads)
    disable_progress_bar()
    folder, lines = project / FOLDER, tuple(corpus(project))
    pythons = {name: peer_python(name, project=project) for name in {WORKS[work].peer for work in works}}
    comparisons: list[Comparison] = []
    shares: list[PeakShare] = []
    for size in plan.sizes:
        tokenizer = train_tokenizer(lines, vocabulary=SIZES[size].vocabulary)
        written = encode_prompts(tokenizer, Writer(tokenizer, lines, CALIBRATION_SEED).prompts(16))
        save_models(SIZES[size], written, tokenizer=tokenizer, folder=folder / "models" / size)
        for precision in PRECISIONS:
            place = Place(plan, size, precision, folder / "models" / size, tokenizer, lines)
            for name in works:
                found = progress.measured(name, size, precision)
                if not found:
                    found = _compare(WORKS[name], place, python=pythons[WORKS[name].peer], folder=folder / f"{name}-{size}-{precision}")
                    progress.add(found)
                comparisons.extend(found)
                for item in found:
                    console.print(f"{name} {item.kind}, {size} M, {precision}: {item.ratio:.2f} x", highlight=False)
    if with_peak:
        shares = peak_shares(place)
    print_table(comparisons, shares, console)
    path = store(comparisons, shares, plan, project) if is_stored else None
    progress.end()
    print(json.dumps(summary(comparisons, shares, plan, file=str(path.relative_to(project)) if path else None)), flush=True)


def _compare(work: Work, place: Place, *, python: Path, folder: Path) -> list[Comparison]:
    """Measure one work at one place, all its kinds with one peer process."""
    torch.manual_seed(1)
    sides = work.prepare(place)
    found = []
    with ExitStack() as stack:
        peer, row_batch = _fastest(work, sides, stack, python=python, folder=folder, threads=place.plan.threads)
        sides.refuse(peer.ready)
        for kind in work.ratios:
            if len(work.ratios) == 1:
                sides.ours(kind)  # the peer is warm; rollouts warm up on their own
            mine, theirs = take_turns(sides.ours, peer.turn, kind, pairs=place.plan.pairs)
            facts = {f"{side}_{name}": value for side, turn in (("ours", mine[-1]), ("peer", theirs[-1])) for name, value in turn.items()}
            facts["peer_row_batch"] = row_batch
            ours, peers = rates(mine, work.unit), rates(theirs, work.unit)
            found.append(Comparison(work.name, kind, place.size, place.precision, f"{work.unit}/s", ours, peers, facts))
    return found


def _fastest(work: Work, sides: Sides, stack: ExitStack, *, python: Path, folder: Path, threads: int) -> tuple[PeerProcess, int]:
    """Start the peer in each of its batch shapes, measure one turn of each, keep the fastest; return it and its shape (0: no choice)."""
    shapes = {"python": python, "threads": threads}
    if not sides.row_batches:
        return stack.enter_context(PeerProcess(work.script, sides.job, folder=folder, **shapes)), 0
    found: list[tuple[float, int, PeerProcess, ExitStack]] = []
    for row_batch in sides.row_batches:
        own = stack.enter_context(ExitStack())
        peer = own.enter_context(PeerProcess(work.script, sides.job | {"row_batch": row_batch}, folder=folder / f"rows-{row_batch}", **shapes))
        turn = peer.turn(next(iter(work.ratios))) if len(sides.row_batches) > 1 else {work.unit: 1.0, "seconds": 1.0}
        found.append((turn[work.unit] / turn["seconds"], row_batch, peer, own))
    best = max(found, key=lambda item: item[0])
    for item in found:
        if item is not best:
            item[3].close()
    return best[2], best[1]
