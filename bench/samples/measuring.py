"""Turns of the policy loop at each count of samples, and the seconds of their parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.training.data import Writer, corpus
from bench.training.models import STOP_CHANCE, make_stopping, never_stopping_model
from bench.training.ours import grpo_turn
from bench.training.plan import SIZES
from bench.training.works import DATA_SEED, KL_WEIGHT
from components.modeling.tokenizers import encode_prompts, train_tokenizer
from components.settings.training import Precision

PARTS = {"generate": ("generate",), "update": ("reference", "policy", "optimiser")}
FLOORS = {"generate": "floor_generate", "update": "floor_update"}


@dataclass(frozen=True)
class Plan:
    """One run of the bench."""

    size: str = "3"
    counts: tuple[int, ...] = (4, 8, 16, 32)  # answers a prompt
    prompts: int = 32
    max_new_tokens: int = 32
    steps: int = 3  # a turn
    turns: int = 5
    threads: int = 2
    precision: Precision = "auto"


QUICK = Plan(size="tiny", counts=(2, 4), prompts=4, max_new_tokens=6, steps=1, turns=1)


@dataclass(frozen=True)
class SampleCost:
    """Medians over turns at one count of samples a prompt: seconds of a step and of its parts, and their floors."""

    samples: int
    answers: int  # a step
    tokens: float  # sampled a step
    step: float
    generate: float
    generate_floor: float
    update: float
    update_floor: float


def measure(project: Path, plan: Plan) -> list[SampleCost]:
    """Measure every count of the plan, turns in alternation."""
    lines = tuple(corpus(project))
    tokenizer = train_tokenizer(lines, vocabulary=SIZES[plan.size].vocabulary)
    prompts = encode_prompts(tokenizer, Writer(tokenizer, lines, DATA_SEED).prompts(plan.prompts))
    model = never_stopping_model(SIZES[plan.size], tokenizer=tokenizer, seed=1)
    make_stopping(model, prompts, tokenizer=tokenizer, chance=STOP_CHANCE, seed=1)
    turns: dict[int, list[dict[str, float]]] = {count: [] for count in plan.counts}
    for _ in range(plan.turns):
        for count in plan.counts:
            turns[count].append(
                grpo_turn(
                    model, tokenizer, prompts, samples=count, max_new_tokens=plan.max_new_tokens, steps=plan.steps, kl_weight=KL_WEIGHT, precision=plan.precision
                )
            )
    return [sample_cost(count, turns[count], prompts=plan.prompts) for count in plan.counts]


def sample_cost(samples: int, turns: Sequence[dict[str, float]], *, prompts: int) -> SampleCost:
    """Return the medians over turns of the mean step."""

    def typical(*names: str) -> float:
        return median(sum(turn[name] for name in names) / turn["steps"] for turn in turns)

    parts = {name: typical(*(f"seconds_{part}" for part in named)) for name, named in PARTS.items()}
    floors = {f"{name}_floor": typical(f"seconds_{floor}") for name, floor in FLOORS.items()}
    return SampleCost(samples, prompts * samples, typical("tokens"), typical("seconds"), **parts, **floors)


def growth(costs: Sequence[SampleCost], part: str) -> float:
    """Return a part's seconds at the last count over those at the first, over the ratio of their answers."""
    first, last = costs[0], costs[-1]
    return getattr(last, part) / getattr(first, part) / (last.answers / first.answers)
