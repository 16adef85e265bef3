"""The works: for each, our side, the peer's script with its job, and the name of the ratio in the last line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peer_environments import OURS
from bench.training import ours
from bench.training.data import Writer
from bench.training.plan import SIZES, Plan
from bench.training.turns import Turn
from components.errors import DataError
from components.modeling.models import load_model
from components.modeling.tokenizers import encode_prompts
from components.training.supervised.examples import Example, chat_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

KL_WEIGHT, CENTRING, BETA = 0.01, 0.01, 0.1
DATA_SEED = 7


@dataclass(frozen=True)
class Place:
    """Where a work is measured: plan, size, number type, and the folder with the size's models."""

    plan: Plan
    size: str
    precision: str
    models: Path
    tokenizer: "PreTrainedTokenizerFast"
    lines: tuple[str, ...]

    def writer(self) -> Writer:
        """Return the writer of this work's data, from its beginning."""
        return Writer(self.tokenizer, self.lines, DATA_SEED)

    def load(self, name: str) -> "PreTrainedModel":
        """Load one of the size's models for our side."""
        if name == "reward":
            from components.rewards.reward_model import RewardModel

            return RewardModel.load(self.models / name).model
        return load_model(self.models / name)


@dataclass(frozen=True)
class Sides:
    """What a work needs at a place: our turn and the peer's job; `refuse` looks at what the peer said when ready.

    `row_batches`: shapes of the peer's forward pass to choose the fastest from; empty: the job has no such choice.
    """

    ours: Turn
    job: dict[str, Any]
    row_batches: tuple[int, ...] = ()
    refuse: Callable[[dict[str, Any]], None] = lambda ready: None


@dataclass(frozen=True)
class Work:
    """One row of the comparison."""

    name: str
    peer: str
    script: str
    unit: str
    prepare: Callable[[Place], Sides]
    ratios: dict[str, str] = field(default_factory=dict)  # kind of turn → name of the ratio


def _rollout(place: Place) -> Sides:
    plan, prompts = place.plan, encode_prompts(place.tokenizer, place.writer().prompts(place.plan.rollout_prompts))
    shape = {"samples": plan.samples, "max_new_tokens": plan.max_new_tokens}
    kinds = {"fixed": place.load("fixed"), "stops": place.load("stops")}
    job = {"model": str(place.models / "stops"), "precision": place.precision, "prompts": prompts, "kinds": list(kinds), "context": 512, **shape}
    return Sides(ours.Rollouts(kinds, place.tokenizer, prompts, precision=place.precision, **shape).turn, job)  # type: ignore[arg-type]


def _trainer_job(place: Place, work: str, model: str, *, rows: int, steps: int) -> dict[str, Any]:
    return {
        "work": work, "model": str(place.models / model), "precision": place.precision, "rows": rows, "steps": steps,
        "learning_rate": ours.LEARNING_RATE, "context": SIZES[place.size].context,
    }  # fmt: skip


def _grpo(kind: str) -> Callable[[Place], Sides]:
    def prepare(place: Place) -> Sides:
        plan = place.plan
        prompts = encode_prompts(place.tokenizer, place.writer().prompts(plan.grpo_prompts))
        shape = {"samples": plan.samples, "max_new_tokens": plan.max_new_tokens, "kl_weight": KL_WEIGHT}
        model, rows = place.load(kind), plan.grpo_prompts * plan.samples
        job = _trainer_job(place, "grpo", kind, rows=rows, steps=plan.grpo_steps)
        job |= {"prompts": place.tokenizer.batch_decode(prompts), **shape}
        expected = sum(map(len, prompts))

        def refuse(ready: dict[str, Any]) -> None:
            if ready["prompt_tokens"] != expected:
                raise DataError(f"grpo: the peer's prompts have {ready['prompt_tokens']} tokens, ours {expected}; the comparison would not be of equals")

        def turn(_: str) -> dict[str, float]:
            return ours.grpo_turn(model, place.tokenizer, prompts, steps=plan.grpo_steps, precision=place.precision, **shape)  # type: ignore[arg-type]

        return Sides(turn, job, _row_batches(rows, rows // 4), refuse)

    return prepare


def _sft(place: Place) -> Sides:
    plan = place.plan
    samples = place.writer().samples(plan.sft_batch * plan.sft_steps)
    examples = [example for example in chat_examples(place.tokenizer, samples, context=SIZES[place.size].context) if example]
    tokens, targets = sum(len(example.ids) for example in examples), sum(example.targets for example in examples)
    rows = max(1, round(tokens / plan.sft_steps / SIZES[place.size].context))  # of packed tokens: as many tokens a step as ours
    job = _trainer_job(place, "sft", "plain", rows=rows, steps=plan.sft_steps)
    job |= {"examples": [_plain(example) for example in examples]}
    model = place.load("plain")

    def refuse(ready: dict[str, Any]) -> None:
        if (ready["tokens"], ready["targets"]) != (tokens, targets):
            raise DataError(f"sft: the peer packed {ready['tokens']} tokens with {ready['targets']} targets, ours are {tokens} and {targets}")

    def turn(_: str) -> dict[str, float]:
        return ours.sft_turn(model, examples, batch=plan.sft_batch, precision=place.precision)  # type: ignore[arg-type]

    return Sides(turn, job, _row_batches(rows, 1), refuse)  # several rows in one pass are one row to TRL, under one mask


def _row_batches(*candidates: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, candidate) for candidate in candidates}))


def _plain(example: Example) -> list[list[int]]:
    return [list(example.ids), [int(flag) for flag in example.is_target]]


def _preference_job(place: Place, work: str, model: str) -> tuple[list[Any], dict[str, Any]]:
    plan = place.plan
    pairs = place.writer().pairs(4 * plan.preference_batch)
    job = _trainer_job(place, work, model, rows=plan.preference_batch, steps=plan.preference_steps)
    return pairs, job | {"pairs": [{"prompt": pair.messages[0].content, "chosen": pair.chosen, "rejected": pair.rejected} for pair in pairs]}


def _reward(place: Place) -> Sides:
    plan, (pairs, job), model = place.plan, _preference_job(place, "reward", "reward"), place.load("reward")

    def turn(_: str) -> dict[str, float]:
        return ours.reward_turn(
            model, place.tokenizer, pairs, batch=plan.preference_batch, steps=plan.preference_steps, centring=CENTRING, precision=place.precision  # type: ignore[arg-type]
        )

    return Sides(turn, job | {"centring": CENTRING}, _row_batches(plan.preference_batch, plan.preference_batch // 4))


def _dpo(place: Place) -> Sides:
    plan, (pairs, job), model = place.plan, _preference_job(place, "dpo", "plain"), place.load("plain")

    def turn(_: str) -> dict[str, float]:
        return ours.direct_turn(
            model, place.tokenizer, pairs, batch=plan.preference_batch, steps=plan.preference_steps, beta=BETA, precision=place.precision  # type: ignore[arg-type]
        )

    return Sides(turn, job | {"beta": BETA}, _row_batches(plan.preference_batch, plan.preference_batch // 4))


WORKS = {
    work.name: work
    for work in (
        Work("grpo", "trl", "trl_training", "samples", _grpo("stops"), {"stops": "grpo_vs_trl"}),
        Work("grpo_fixed", "trl", "trl_training", "samples", _grpo("fixed"), {"fixed": "grpo_fixed_vs_trl"}),
        Work("sft", "trl", "trl_training", "tokens", _sft, {"packed": "sft_packed_vs_trl"}),
        Work("dpo", "trl", "trl_training", "samples", _dpo, {"pairs": "dpo_vs_trl"}),
        Work("reward", "trl", "trl_training", "samples", _reward, {"pairs": "rm_vs_trl"}),
        Work("rollout", OURS, "hf_rollouts", "tokens", _rollout, {"fixed": "rollout_vs_hf", "stops": "rollout_stops_vs_hf"}),
        Work("rollout_vllm", "vllm", "vllm_rollouts", "tokens", _rollout, {"fixed": "rollout_vs_vllm", "stops": "rollout_vs_vllm"}),
    )
}
RATIOS = ("grpo_vs_trl", "grpo_fixed_vs_trl", "sft_packed_vs_trl", "rollout_vs_hf", "rollout_stops_vs_hf", "rollout_vs_vllm", "dpo_vs_trl", "rm_vs_trl")
