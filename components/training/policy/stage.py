"""What the two GRPO stages share: model and prompts in, a tuned model out."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.cases.case import Case
from components.documents import read_models
from components.generation.native_sampler import NativeSampler
from components.modeling.models import load_model, save_model
from components.modeling.tokenizers import load_tokenizer
from components.rewards.combination import RewardTerm, one_by_one, score_answers
from components.rewards.format_reward import format_score
from components.rewards.verifiers.registry import verify
from components.settings.training import PolicySettings
from components.stage import StageContext
from components.training.policy.loop import optimise_policy
from components.training.policy.prompts import policy_prompts

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
    context: StageContext, *, parent: str, prompts: str, output: str, terms: Sequence[RewardTerm]
) -> None:
    """Tune the parent model on the stage's prompts and publish it.

    Args:
        parent: path of the reference of the model to start from, which is also the KL reference; `output` of the new one.
        prompts: path of the cases.
    """
    settings: PolicySettings = context.section(context.name)
    folder = context.fetch_model(parent)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    cases = read_models(context.read(prompts), Case)
    result = optimise_policy(
        model,
        policy_prompts(tokenizer, cases),
        lambda asked, texts: score_answers(terms, [prompt.case for prompt in asked], texts),
        sampler=NativeSampler(model, tokenizer, precision=settings.precision),
        settings=settings,
        seed=context.seed,
        recorder=context.recorder,
        checkpoints=context.checkpoints,
        mastery=CORRECT,
        engine=context.section("engine"),
    )
    with tempfile.TemporaryDirectory() as temporary:
        save_model(model, tokenizer, Path(temporary))
        context.publish_model(Path(temporary), output, parent=parent)
    context.recorder.table("epochs", [dict(epoch) for epoch in result.history])
    context.recorder.summary(result.summary)
