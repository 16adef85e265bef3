"""`python -m bench.parity`: the batch, both sides' results, a table, one last line of JSON; exit code 1 above the tolerance."""

import argparse
import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.parity.comparing import Difference

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = "var/bench/parity"


def main() -> int:
    """Compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description="Our losses and gradients against TRL's on one fixed batch, float32.")
    parser.add_argument("--quick", action="store_true", help="a tiny model, nothing stored")
    arguments = parser.parse_args()
    from bench.machine import keep_gpus_out
    from components.errors import QuarkmedError

    keep_gpus_out()

    try:
        found, clipped = compare(PROJECT, size="tiny" if arguments.quick else "3")
    except QuarkmedError as error:
        print(f"bench.parity: {error}", file=sys.stderr)
        return error.exit_code
    return report(found, clipped, is_stored=not arguments.quick)


def compare(project: Path, *, size: str) -> "tuple[list[Difference], float]":
    """Return every case's differences, and the share of tokens whose ratio the clip range cuts."""
    from safetensors.torch import load_file, save_file

    from bench.parity.batch import LONGEST_ANSWER, TEMPERATURE, exported, make_batch
    from bench.parity.comparing import differences
    from bench.parity.ours import CASES, clipped_share, our_result
    from bench.peer_environments import peer_python
    from bench.peer_process import PeerProcess
    from bench.training.data import corpus
    from bench.training.plan import SIZES
    from components.modeling.tokenizers import train_tokenizer

    folder = project / FOLDER
    tokenizer = train_tokenizer(corpus(project), vocabulary=SIZES[size].vocabulary)
    batch = make_batch(SIZES[size], tokenizer=tokenizer, folder=folder)
    save_file(exported(batch, pad=tokenizer.pad_token_id), folder / "batch.safetensors")
    job = {
        "policy": str(folder / "policy"), "reward": str(folder / "reward"), "batch": str(folder / "batch.safetensors"), "temperature": TEMPERATURE,
        "max_new_tokens": LONGEST_ANSWER, "cases": {case.name: dataclasses.asdict(case) for case in CASES},
    }  # fmt: skip
    found = []
    with PeerProcess("trl_parity", job, python=peer_python("trl", project=project), folder=folder / "peer", threads=1) as peer:
        for case in CASES:
            theirs = load_file(peer.turn(case.name)["file"])
            found.extend(differences(case.name, our_result(batch, case), theirs))
    return found, clipped_share(batch, CASES[1])


def report(found: "list[Difference]", clipped: float, *, is_stored: bool) -> int:
    """Print the table and the last line, store it if asked; return 1 where a difference is above the tolerance."""
    from rich.console import Console
    from rich.table import Table

    from bench.machine import cpu_text, git_state
    from bench.parity.comparing import TOLERANCE
    from components.storage.files import write_json

    table = Table(title="Ours against TRL, float32: largest differences")
    for name in ("case", "value", "absolute", "largest value", "relative to it", f"within {TOLERANCE:g}"):
        table.add_column(name)
    for item in found:
        table.add_row(item.case, item.what, f"{item.absolute:.1e}", f"{item.scale:.3g}", f"{item.relative:.1e}", "yes" if item.is_within else "NO")
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(table)
    console.print(f"{clipped:.0%} of the answer tokens have a ratio outside the clip range.", highlight=False)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    is_equal = all(item.is_within for item in found)
    summary = {
        "bench": "parity", "date": date, "cpu": cpu_text(), "is_equal": is_equal, "tolerance": TOLERANCE, "clipped_share": round(clipped, 3),
        "differences": {f"{item.case}: {item.what}": {"absolute": item.absolute, "relative": item.relative} for item in found},
    }  # fmt: skip
    if is_stored:
        write_json(PROJECT / f"bench/results/parity-{date}.json", summary | {"git_sha": git_state(PROJECT).sha, "is_clean": git_state(PROJECT).is_clean})
    print(json.dumps(summary), flush=True)
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
