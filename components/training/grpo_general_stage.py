"""Stage 15, general reinforcement learning (report §3.4): three reasoning prompts to one general one.

Reasoning prompts are rewarded by verifier and format. Of the general ones, free queries by the reward models for honesty
and helpfulness, the consistency scorer and the compliance verifier; requests to be refused, warned of or allowed by the
safety rule. Each reward is normalised within its group before they are summed (params.yaml:
grpo_general.combine_rewards), since their scales have nothing in common. A reward model's word is cut at
grpo_general.reward_bound standard deviations of the rewards it was tuned on: beyond, it extrapolates, and unbounded it
was led to one phrase said over and over (over-optimisation: arXiv:2210.10760; bounded rewards: arXiv:2502.18770). For
the same reason the weights kept are those whose answers to validation queries the oracle likes best: past some KL the
reward models' word still rises while answers get worse.
"""

from collections.abc import Sequence

from components import layout
from components.cases.case import Case
from components.documents import read_models
from components.knowledge_base.loading import load_knowledge_base
from components.modeling.tokenizers import load_tokenizer
from components.rewards.combination import BatchReward, RewardTerm, one_by_one
from components.rewards.compliance import compliance_score
from components.rewards.consistency import ConsistencyScorer
from components.rewards.oracle import Oracle
from components.rewards.reward_model import RewardModel
from components.rewards.verifiers.registry import verify
from components.settings.training import PolicySettings
from components.stage import StageContext
from components.training.answer_quality import answer_quality, chosen_cases
from components.training.policy.stage import run_policy_stage, verifier_terms
from components.training.selection import Measure


def run(context: StageContext) -> None:
    """Tune grpo_reasoning on the mixed prompts and publish grpo_general."""
    run_policy_stage(
        context,
        parent=layout.GRPO_REASONING,
        prompts=layout.GENERAL_PROMPTS,
        output=layout.GRPO_GENERAL,
        terms=[*verifier_terms(), *_preference_terms(context)],
        measure=_measure(context),
    )


def _measure(context: StageContext) -> Measure:
    cases = chosen_cases(
        read_models(context.read(layout.VALIDATION_CASES), Case), suites=("preference",), count=context.section(context.name).measured_cases
    )
    oracle = Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    return answer_quality(cases, load_tokenizer(context.fetch_model(layout.GRPO_REASONING)), oracle)


def _preference_terms(context: StageContext) -> list[RewardTerm]:
    settings: PolicySettings = context.section(context.name)
    precision, bound = settings.precision, settings.reward_bound
    honesty = RewardModel.load(context.fetch_model(layout.REWARD_HONESTY), precision=precision)
    helpfulness = RewardModel.load(context.fetch_model(layout.REWARD_HELPFULNESS), precision=precision)
    consistency = ConsistencyScorer(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    return [
        RewardTerm("honesty", _model_reward(honesty, bound), _is_general),
        RewardTerm("helpfulness", _model_reward(helpfulness, bound), _is_general),
        RewardTerm("consistency", one_by_one(lambda case, text: consistency.score(text)), _is_general),
        RewardTerm("compliance", one_by_one(compliance_score), _is_general),
        RewardTerm("safety", one_by_one(lambda case, text: verify(case, text).score), lambda case: case.suite == "safety"),
    ]


def _is_general(case: Case) -> bool:
    return case.suite == "preference"


def _model_reward(model: RewardModel, bound: float) -> BatchReward:
    def score(cases: Sequence[Case], texts: Sequence[str]) -> list[float]:
        return [max(-bound, min(bound, value)) for value in model.score([case.messages for case in cases], texts)]

    return score
