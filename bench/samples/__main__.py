"""`python -m bench.samples`: the measurement, a table, the plot, one last line of JSON."""

import argparse
import dataclasses
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.samples.measuring import Plan, SampleCost

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = "bench/results"


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.samples", description="What a GRPO step costs against the answers a prompt, on this processor.")
    parser.add_argument("--quick", action="store_true", help="a smoke run: a tiny model and batch, one turn, nothing stored")
    parser.add_argument("--threads", type=int, default=2, help="threads (default: 2)")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"), help="of products (default: bfloat16 on a GPU, float32 on a processor)")
    arguments = parser.parse_args()

    from bench.machine import keep_gpus_out

    keep_gpus_out()
    from bench.samples.measuring import QUICK, Plan, measure
    from components.errors import QuarkmedError
    from components.launch.torch_setup import prepare_torch

    prepare_torch(arguments.threads)
    plan = dataclasses.replace(QUICK if arguments.quick else Plan(), threads=arguments.threads, precision=arguments.precision)
    try:
        costs = measure(PROJECT, plan)
    except QuarkmedError as error:
        print(f"bench.samples: {error}", file=sys.stderr)
        return error.exit_code
    print_costs(costs)
    found = summary(costs, plan)
    path = None if arguments.quick else store(costs, plan, PROJECT)
    print(json.dumps(found | {"file": str(path.relative_to(PROJECT)) if path else None}), flush=True)
    return 0


def summary(costs: "Sequence[SampleCost]", plan: "Plan") -> dict[str, Any]:
    """Return the last line's object."""
    from bench.machine import cpu_text
    from bench.samples.measuring import growth
    from components.modeling.precision import resolve_precision

    return {
        "bench": "samples", "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "cpu": cpu_text(), "threads": plan.threads,
        "precision": resolve_precision(plan.precision), "size": plan.size, "samples": [cost.samples for cost in costs],
        "step_seconds": [round(cost.step, 4) for cost in costs],
        "growth": {part: round(growth(costs, part), 3) for part in ("step", "generate", "update")},
    }  # fmt: skip


def print_costs(costs: "Sequence[SampleCost]") -> None:
    """Print one row a count."""
    from rich.console import Console
    from rich.table import Table

    table = Table("answers a prompt", "answers", "tokens", "step s", "ms an answer", "generate s", "floor", "update s", "floor", title="One GRPO step", title_justify="left", header_style="bold")
    for column in table.columns:
        column.justify = "right"
    for cost in costs:
        seconds = (cost.generate, cost.generate_floor, cost.update, cost.update_floor)
        table.add_row(str(cost.samples), str(cost.answers), f"{cost.tokens:,.0f}", f"{cost.step:.3f}", f"{1e3 * cost.step / cost.answers:.2f}", *(f"{value:.3f}" for value in seconds))
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def store(costs: "Sequence[SampleCost]", plan: "Plan", project: Path) -> Path:
    """Write `samples-<date>.json` and the plot beside it; those of the same day are replaced."""
    from bench.curves import write_curves
    from bench.machine import git_state
    from components.evaluation.report.charts import Series
    from components.storage.files import write_json

    git, found = git_state(project), summary(costs, plan)
    path = project / RESULTS / f"samples-{found['date']}.json"
    write_json(path, found | {"git_sha": git.sha, "is_clean": git.is_clean, "plan": dataclasses.asdict(plan), "costs": [dataclasses.asdict(cost) for cost in costs]})
    first = costs[0]
    series = [Series(part, [(cost.samples, getattr(cost, part)) for cost in costs]) for part in ("step", "generate", "update")]
    series.append(Series("step, in proportion to the first", [(cost.samples, first.step * cost.samples / first.samples) for cost in costs]))
    write_curves(path.with_suffix(".svg"), series, x_title="answers a prompt", y_title="seconds a step")
    return path


if __name__ == "__main__":
    from components.launch.stage_environment import start_again_with_large_pages

    start_again_with_large_pages()
    sys.exit(main())
