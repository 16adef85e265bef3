"""`python -m bench.gpu_check`: one message and exit code 2 without CUDA, 1 where a check fails."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from bench.gpu_check.outcome import Outcome
    from bench.gpu_check.plan import Plan

PROJECT = Path(__file__).resolve().parents[2]
NO_DEVICE = (
    "bench.gpu_check: torch sees no CUDA device here (a build for processors, or no driver); run it on a CUDA machine, in an environment "
    "whose torch is a CUDA build. `python -m bench.gpu_check --rehearse` runs the same code on this processor"
)


def main() -> int:
    """Check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description="What the tests on a processor cannot see, on a CUDA machine.")
    parser.add_argument("--rehearse", action="store_true", help="the same code on this processor: tiny models, nothing stored")
    arguments = parser.parse_args()
    import torch
    from rich.console import Console

    from bench.gpu_check.plan import FULL, REHEARSAL
    from components.errors import QuarkmedError

    if not arguments.rehearse and not torch.cuda.is_available():
        print(NO_DEVICE, file=sys.stderr)
        return 2
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    try:
        outcome = check(PROJECT, REHEARSAL if arguments.rehearse else FULL, torch.device("cpu") if arguments.rehearse else torch.device("cuda", 0))
    except QuarkmedError as error:
        print(f"bench.gpu_check: {error}", file=sys.stderr)
        return error.exit_code
    from bench.gpu_check.outcome import print_outcome, store_outcome

    print_outcome(outcome, console)
    path = None if arguments.rehearse else store_outcome(outcome, PROJECT)
    print(json.dumps(outcome.summary() | {"file": str(path.relative_to(PROJECT)) if path else None}), flush=True)
    return 0 if outcome.is_ok else 1


def check(project: Path, plan: "Plan", device: "torch.device") -> "Outcome":
    """Run every check and measurement of a plan on a device."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from bench.gpu_check.agreement import check_agreement
    from bench.gpu_check.checks import limited
    from bench.gpu_check.outcome import Outcome
    from bench.gpu_check.plain_transformers import sampling_rate, training_rate
    from bench.gpu_check.speed import growth, measure_contexts, measure_rates, peak_memory_gigabytes, reset_peak_memory
    from bench.gpu_check.vllm_agreement import check_vllm, is_vllm_here
    from bench.gpu_check.whole_runs import check_whole_runs
    from bench.training.data import corpus
    from bench.training.models import never_stopping_model
    from components.launch.torch_setup import prepare_torch
    from components.modeling.models import create_model
    from components.modeling.tokenizers import train_tokenizer
    from components.sizing.machine import device_speed

    prepare_torch(torch.get_num_threads())
    disable_progress_bar()
    tokenizer = train_tokenizer(corpus(project), vocabulary=plan.agreement.vocabulary)
    small = create_model(plan.agreement, tokenizer=tokenizer, seed=1).cpu()
    checks = check_agreement(small, tokenizer, plan, device)
    large = never_stopping_model(plan.speed, tokenizer=tokenizer, seed=1).to(device)
    reset_peak_memory()
    rates = measure_rates(large, tokenizer, plan)
    costs = measure_contexts(large, tokenizer, plan)
    peak = peak_memory_gigabytes()
    plain = {"supervised steps": training_rate(large, plan, vocabulary=len(tokenizer)), "sampling": sampling_rate(large, plan, vocabulary=len(tokenizer))}
    if device.type == "cuda":  # on a processor the contexts are too short to say anything
        checks += [limited(f"cost of {name} grows with context as its operations do", growth(costs, kind), by=f"{kind} growth") for name, kind in (("supervised tuning", "train"), ("decoding", "decode"))]
        del large
        torch.cuda.empty_cache()
    if plan.run_steps:
        with tempfile.TemporaryDirectory() as folder:
            checks += check_whole_runs(small, tokenizer, plan, Path(folder), processes=torch.cuda.device_count() if device.type == "cuda" else 1)
    has_vllm = is_vllm_here()
    if has_vllm:
        checks += check_vllm(small, tokenizer, plan, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this processor"
    return Outcome(name, device_speed(plan.speed_precision, str(device)), checks, rates, plain, costs, peak, has_vllm, plan)


if __name__ == "__main__":
    sys.exit(main())
