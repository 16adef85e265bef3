"""`python -m bench.training`: read the arguments before anything heavy is imported; end with one message where it fails."""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description="Training and sampling against TRL, transformers and vLLM on a CPU.")
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny models and batches, one pair of turns, nothing stored")
    parser.add_argument("--works", help="comma-separated part of the works, and 'peak' (default: all)")
    parser.add_argument("--store", action="store_true", help="keep the result of a part too, in a file that names its sizes")
    parser.add_argument("--go-on", action="store_true", help="take up what a run of the same commit, plan and processor had measured when it was cut off")
    parser.add_argument("--sizes", default="1,3,10", help="model sizes in million parameters (default: 1,3,10)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of turns (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (default: 2)")
    arguments = parser.parse_args()

    from rich.console import Console

    from bench.machine import keep_gpus_out

    keep_gpus_out()

    from bench.training.bench import run_bench
    from bench.training.plan import SIZES, Plan, quick_plan
    from bench.training.works import WORKS
    from components.errors import QuarkmedError

    asked = [*WORKS, "peak"] if arguments.works is None else arguments.works.split(",")
    for unknown in [work for work in asked if work not in (*WORKS, "peak")]:
        parser.error(f"--works {unknown}: not one of {', '.join(WORKS)}, peak")
    works = [work for work in asked if work != "peak"]
    for unknown in [size for size in arguments.sizes.split(",") if size not in SIZES]:
        parser.error(f"--sizes {unknown}: not one of {', '.join(SIZES)}")
    plan = quick_plan(threads=arguments.threads) if arguments.quick else Plan(tuple(arguments.sizes.split(",")), arguments.threads, arguments.pairs)
    is_whole = arguments.works is None and not arguments.quick and plan.sizes[-1] == "10"
    console = Console()
    try:
        run_bench(
            PROJECT, plan, works=works, with_peak="peak" in asked, is_stored=is_whole or arguments.store, goes_on=arguments.go_on,
            console=console if console.is_terminal else Console(width=160),
        )  # fmt: skip
    except QuarkmedError as error:
        print(f"bench.training: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench.training: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    from components.launch.stage_environment import start_again_with_large_pages

    start_again_with_large_pages()
    sys.exit(main())
