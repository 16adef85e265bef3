"""What the two GRPO stages share: model and prompts in, a tuned model out."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.cases.case import Case
from components.documents import read_models
from components.errors import SettingsError
from components.modeling.models import load_model, save_model
from components.modeling.tokenizers import load_tokenizer
from components.rewards.combination import RewardTerm, one_by_one, score_answers
from components.rewards.format_reward import format_score
from components.rewards.verifiers.registry import verify
from components.settings.engine import EngineSettings
from components.settings.training import PolicySettings
from components.stage import StageContext
from components.training.policy.loop import optimise_policy
from components.training.policy.prompts import policy_prompts
from components.training.policy.samplers import policy_sampler
from components.training.selection import Measure

CORRECT = "correct"


def is_verified(case: Case) -> bool:
    """Say whether a rule can check the case's answers (a reasoning prompt)."""
    return case.suite == "verified"


def verifier_terms() -> list[RewardTerm]:
    """Return the rewards of reasoning prompts: the verifier's score, and adherence to the format."""
    return [
        RewardTerm(CORRECT, one_by_one(lambda case, text: verify(case, text).score), is_verified),
        RewardTerm("format", one_by_one(format_score), is_verified),
    ]


def run_policy_stage(
    context: StageContext, *, parent: str, prompts: str, output: str, terms: Sequence[RewardTerm], measure: Measure | None = None
) -> None:
    """Tune the parent model on the stage's prompts and publish it.

    Args:
        parent: path of the reference of the model to start from, which is also the KL reference; `output` of the new one.
        prompts: path of the cases.
        measure: of the model on validation, which then chooses the step whose weights are kept.
    Raises:
        SettingsError: a vLLM sampler under several processes.
    """
    settings: PolicySettings = context.section(context.name)
    engine: EngineSettings = context.section("engine")
    if settings.sampler != "native" and not engine.is_single:
        raise SettingsError(
            f"{context.name}.sampler: {settings.sampler} is handed its weights by one process, and engine.strategy is {engine.strategy}; "
            "set sampler: native, or engine.strategy: single"
        )
    folder = context.fetch_model(parent)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    cases = read_models(context.read(prompts), Case)
    sampler = policy_sampler(
        settings.sampler, model, tokenizer,
        folder=folder, precision=settings.precision, vllm=context.section("vllm"), root=context.root, is_recorded=settings.recorded_steps,
    )  # fmt: skip
    with sampler as drawing:
        result = optimise_policy(
            model,
            policy_prompts(tokenizer, cases),
            lambda asked, texts: score_answers(terms, [prompt.case for prompt in asked], texts),
            sampler=drawing,
            settings=settings,
            seed=context.seed,
            recorder=context.recorder,
            checkpoints=context.checkpoints,
            mastery=CORRECT,
            measure=measure,
            engine=engine,
        )
    with tempfile.TemporaryDirectory() as temporary:
        save_model(model, tokenizer, Path(temporary))
        context.publish_model(Path(temporary), output, parent=parent)
    context.recorder.table("epochs", [dict(epoch) for epoch in result.history])
    context.recorder.summary(result.summary)
