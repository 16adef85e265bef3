"""What comes of the check: tables, a plot, one last line of JSON, and a stored file."""

import dataclasses
import datetime
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.curves import write_curves
from bench.gpu_check.checks import Check
from bench.gpu_check.plan import Plan
from bench.gpu_check.speed import ContextCost, Rate
from bench.machine import git_state
from components.evaluation.report.charts import Series
from components.settings.training import ModelSettings
from components.sizing.machine import DeviceSpeed
from components.storage.files import write_json

RESULTS = "bench/results"
MICRO = 1e6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Everything that was found on one device."""

    device: str
    speed: DeviceSpeed
    checks: Sequence[Check]
    rates: Sequence[Rate]
    plain_rates: Mapping[str, float]  # of transformers itself, tokens a second, by the rate's name
    costs: Sequence[ContextCost]
    peak_gigabytes: float | None
    has_vllm: bool
    plan: Plan

    @property
    def is_ok(self) -> bool:
        """Say whether every check is passed."""
        return all(check.is_ok for check in self.checks)

    def summary(self) -> dict[str, Any]:
        """Return the last line's object; `mfu_…` and `roofline_…` are shares of what was measured in the same run."""
        share = {rate.name: round(rate.floor_share, 3) for rate in self.rates}
        ratios = {rate.name: round(rate.tokens_per_second / self.plain_rates[rate.name], 2) for rate in self.rates if rate.name in self.plain_rates}
        return {
            "bench": "gpu_check", "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "device": self.device, "is_ok": self.is_ok,
            "versions": {package: importlib.metadata.version(package) for package in ("torch", "transformers")}, "precision": self.plan.speed_precision,
            "checks": len(self.checks), "failed": [check.name for check in self.checks if not check.is_ok], "vllm": self.has_vllm,
            "peak_teraflops": round(self.speed.flops / 1e12, 1), "bandwidth_gigabytes": round(self.speed.bandwidth / 1e9),
            "mfu_supervised": share.get("supervised steps"), "mfu_grpo_update": share.get("GRPO update, reference and optimiser with it"),
            "roofline_sampling": share.get("sampling"), "supervised_vs_transformers": ratios.get("supervised steps"), "rollout_vs_transformers": ratios.get("sampling"),
            "tokens_per_second": {rate.name: round(rate.tokens_per_second) for rate in self.rates},
            "peak_memory_gigabytes": None if self.peak_gigabytes is None else round(self.peak_gigabytes, 2),
        }  # fmt: skip


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print checks, rates and costs."""
    table = Table("check", "found", "limit", "", title=f"Agreement on {outcome.device}", title_justify="left", header_style="bold")
    for check in outcome.checks:
        table.add_row(check.name, f"{check.value:.2g}", f"{check.limit:.2g}", "ok" if check.is_ok else "FAILED")
    console.print(table)
    rates = Table("work", "tokens/s", "of the floor", "transformers' own, tokens/s", "ratio", title=f"Speed at {outcome.speed.flops / 1e12:.1f} TFLOP/s and {outcome.speed.bandwidth / 1e9:,.0f} GB/s", title_justify="left", header_style="bold")
    for rate in outcome.rates:
        plain = outcome.plain_rates.get(rate.name)
        beside = ("", "") if plain is None else (f"{plain:,.0f}", f"{rate.tokens_per_second / plain:.2f}")
        rates.add_row(rate.name, f"{rate.tokens_per_second:,.0f}", f"{rate.floor_share:.1%}", *beside)
    console.print(rates)
    costs = Table("context", "supervised, µs a token", "floor", "GRPO update, µs a token", "floor", "decoding, µs a token", "floor", title="Cost against context", title_justify="left", header_style="bold")
    for cost in outcome.costs:
        costs.add_row(f"{cost.context:,}", *(f"{MICRO * value:,.1f}" for value in (cost.train_seconds, cost.train_floor, cost.update_seconds, cost.update_floor, cost.decode_seconds, cost.decode_floor)))
    console.print(costs)


def store_outcome(outcome: Outcome, project: Path) -> Path:
    """Write `gpu_check-<date>.json` and its plots, of training and of decoding, beside it; those of the same day are replaced."""
    git, date = git_state(project), datetime.datetime.now(datetime.UTC).date().isoformat()
    path = project / RESULTS / f"gpu_check-{date}.json"
    write_json(
        path,
        outcome.summary()
        | {
            "plan": {name: value.model_dump() if isinstance(value, ModelSettings) else value for name, value in vars(outcome.plan).items()}, "git_sha": git.sha, "is_clean": git.is_clean, "found": [dataclasses.asdict(check) for check in outcome.checks],
            "rates": [dataclasses.asdict(rate) for rate in outcome.rates], "plain_rates": dict(outcome.plain_rates), "contexts": [dataclasses.asdict(cost) for cost in outcome.costs],
        },
    )  # fmt: skip
    plot_costs(outcome.costs, path.with_suffix(""))
    return path


def plot_costs(costs: Sequence[ContextCost], beside: Path) -> None:
    """Plot seconds a token against context, with the floors: `<beside>-training.svg` and `<beside>-decoding.svg`."""
    for plot, kinds in {"training": {"supervised": "train", "GRPO update": "update"}, "decoding": {"decoding": "decode"}}.items():
        fields = {f"{name}{said}": f"{kind}_{field}" for name, kind in kinds.items() for said, field in (("", "seconds"), (", floor", "floor"))}
        series = [Series(name, [(cost.context, MICRO * getattr(cost, field)) for cost in costs]) for name, field in fields.items()]
        write_curves(beside.with_name(f"{beside.name}-{plot}.svg"), series, x_title="context, tokens", y_title="microseconds a token")
