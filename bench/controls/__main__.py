"""`python -m bench.controls`: read the arguments before anything heavy is imported; end with one message where it fails."""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.controls",
        description="The recipe against controls of equal cost, over several seeds, on the test split. Killed, it goes on where it was.",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, counted up from run.seed (default: 3)")
    parser.add_argument("--profile", type=Path, help="file laid over params.yaml, for a rehearsal; its result stays in var/")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"--seeds {arguments.seeds}: at least 1")

    from rich.console import Console

    from bench.controls.bench import run_bench
    from components.errors import QuarkmedError

    console = Console()
    try:
        run_bench(PROJECT, seeds=arguments.seeds, profile=arguments.profile, console=console if console.is_terminal else Console(width=160))
    except QuarkmedError as error:
        print(f"bench.controls: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench.controls: stopped; run the same command again to go on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
