"""`quarkmed size`: a training plan on paper, printed with its assumptions; and its formulas beside a recorded run."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.settings.sizing import SizingSettings, load_sizing
from components.sizing.memory import LOGIT_BYTES, WEIGHT_BYTES, activation_bytes
from components.sizing.plan import Plan, StagePlan, make_plan
from components.sizing.shape import DecoderShape, read_shape
from components.sizing.speed import GIGA

MEGA = 1e6


@dataclass(frozen=True)
class RunSpeed:
    """How fast the machine of a recorded run is: as said (10⁹ a second), or, where 0, measured here and now."""

    precision: str = "auto"
    threads: int = 0
    gigaflops: float = 0.0
    gigabytes: float = 0.0

    def flops_and_bandwidth(self) -> tuple[float, float]:
        """Return products and bytes a second."""
        if self.gigaflops and self.gigabytes:
            return self.gigaflops * GIGA, self.gigabytes * GIGA
        import torch

        from components.modeling.precision import products_in
        from components.sizing.machine import measure_machine

        found = measure_machine(threads=self.threads or len(os.sched_getaffinity(0)))
        flops = found.bfloat16 if products_in(self.precision).multiplied is torch.bfloat16 else found.float32  # type: ignore[arg-type]
        return self.gigaflops * GIGA or flops, self.gigabytes * GIGA or found.bandwidth


def size(config: Path, *, plan: Path | None, measured: Path | None, console: Console, speed: "RunSpeed") -> None:
    """Print the plan of a model, or the comparison with a recorded run of it.

    Raises:
        SettingsError, DataError: see `read_shape`, `load_sizing`, `make_plan`, `read_counts`.
    """
    shape = read_shape(config)
    if measured is not None:
        print_comparison(shape, measured, speed=speed, console=console)
        return
    settings = load_sizing(plan)
    made = make_plan(shape, settings)
    print_model(shape, console)
    print_memory(made, console)
    print_stages(made, console)
    print_assumptions(settings, console)


def print_model(shape: DecoderShape, console: Console) -> None:
    """Print parameters, cache and operations a token."""
    per_token = shape.forward_flops(tokens=1, headed=1, seen=0) / GIGA
    console.print(
        f"{shape.parameters / GIGA:,.2f} billion parameters ({shape.body / GIGA:,.2f} in the layers), {shape.parameters * WEIGHT_BYTES / GIGA:,.1f} GB in bf16; "
        f"cache {shape.cache_bytes():,} bytes a token; {per_token:,.1f} billion operations a token forward",
        highlight=False,
    )


def print_memory(plan: Plan, console: Console) -> None:
    """Print what one GPU holds at the fewest nodes, and how activations would grow without recomputation."""
    trainer, hardware, memory = plan.settings.trainer, plan.settings.hardware, plan.memory
    table = Table(f"a GPU while it updates, GB ({plan.fewest_nodes} nodes of {hardware.gpus_per_node}, ZeRO-{trainer.zero_stage})", "", header_style="bold", pad_edge=False)
    for name in ("weights", "gradients", "optimiser", "reference", "reward_models", "activations", "logits", "total"):
        table.add_row(name.replace("_", " "), f"{getattr(memory, name) / GIGA:.1f}")
    console.print(table)
    kept, again = (activation_bytes(plan.shape, recompute=flag, tokens=1) / MEGA for flag in (False, True))
    console.print(
        f"activations a token: {kept:.2f} MB kept, {again:.2f} MB recomputed; logits in chunks: {LOGIT_BYTES / MEGA:.0f} MB; "
        f"put aside in a node's memory while the sampler works: {plan.host_bytes / GIGA:,.0f} GB; the sampler's copy lies over {plan.parallel} GPUs",
        highlight=False,
    )


def print_stages(plan: Plan, console: Console) -> None:
    """Print hours and GPU-hours of each stage, group size and count of nodes."""
    table = Table("stage", "group", "nodes", "steps", "sampling s", "score s", "update s", "other s", "tokens/s", "live answers", "hours", "GPU-hours", header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in plan.rows:
        table.add_row(*_stage_cells(row))
    console.print(table)
    console.print(
        "sampling, score, update, other (weights to the sampler, state put aside and back): seconds of one step, one after another; "
        "tokens/s: sampled, all GPUs; live answers: side by side in one copy of the sampler",
        highlight=False,
    )
    for completions in sorted({row.completions for row in plan.rows}):
        for nodes in sorted({row.nodes for row in plan.rows}):
            rows = [row for row in plan.rows if (row.completions, row.nodes) == (completions, nodes)]
            if len(rows) == len(plan.settings.stages) > 1:
                hours, gpu_hours = sum(row.hours for row in rows), sum(row.gpu_hours for row in rows)
                console.print(f"all stages, groups of {completions}, {nodes} nodes: {hours:,.0f} hours, {gpu_hours:,.0f} GPU-hours", highlight=False)


def print_assumptions(settings: SizingSettings, console: Console) -> None:
    """Print what the plan takes for granted."""
    hardware, assumed, trainer = settings.hardware, settings.assumed, settings.trainer
    console.print(
        f"assumed: a GPU of {hardware.memory_gigabytes:g} GB, {hardware.bandwidth_gigabytes:g} GB/s, {hardware.teraflops:g} TFLOP/s bf16, network {hardware.network_gigabytes:g} GB/s, "
        f"host {hardware.host_gigabytes:g} GB/s; updates reach {assumed.update_mfu:.0%} of the operations, sampling {assumed.decode_share:.0%} of its floor; "
        f"{assumed.usable_memory:.0%} of memory planned with; pass rates uniform from {assumed.lowest_pass_rate:g} to {assumed.highest_pass_rate:g}; "
        f"passes of {trainer.micro_tokens} tokens, layers {'recomputed' if trainer.recompute else 'kept'}",
        highlight=False,
    )
    for stage in settings.stages:
        console.print(
            f"  {stage.name}: {stage.prompts:,} prompts × {stage.epochs:g}, {stage.prompts_per_step} a step; prompts of {stage.prompt_tokens} tokens, answers of {stage.answer_tokens} "
            f"(longest {stage.max_new_tokens}); reference {'scored' if stage.has_reference else 'none'}, {stage.reward_models} reward models",
            highlight=False,
        )


def print_comparison(shape: DecoderShape, record: Path, *, speed: "RunSpeed", console: Console) -> None:
    """Print the formulas' seconds beside those of a recorded run."""
    from components.sizing.measured import compare, read_counts

    counts = read_counts(record)
    flops, bandwidth = speed.flops_and_bandwidth()
    console.print(
        f"at {flops / GIGA:,.0f} GFLOP/s and {bandwidth / GIGA:,.1f} GB/s; {counts.steps} steps, {counts.sampled_tokens:,.0f} tokens sampled, "
        f"{counts.packed_tokens:,.0f} updated on, {shape.parameters:,} parameters",
        highlight=False,
    )
    table = Table("part", "predicted", "measured", "predicted / measured", header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in compare(shape, counts, flops=flops, bandwidth=bandwidth):
        table.add_row(row.what, f"{row.predicted:.2f}", f"{row.measured:.2f}", f"{row.ratio:.2f}")
    console.print(table)
    console.print(
        "predicted: at the machine's full speed, so a ratio in seconds is the share of it that the run reached; policy over reference depends on no speed: a ratio near 1 says that operations are counted right",
        highlight=False,
    )


def _stage_cells(row: StagePlan) -> list[str]:
    times = row.times
    return [
        row.stage.name, str(row.completions), str(row.nodes), f"{row.steps:,}", f"{times.generate:.0f}", f"{times.score:.1f}", f"{times.update:.1f}",
        f"{times.sync + times.swap:.1f}", f"{times.tokens_per_second:,.0f}", f"{times.live_answers}", f"{row.hours:,.1f}", f"{row.gpu_hours:,.0f}",
    ]  # fmt: skip
