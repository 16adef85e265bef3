"""A measure to stop training by: the mean score of greedy answers to validation cases, by verifier and oracle.

Not a loss, since that of one chosen wording rises long before answers get worse; and never a reward model, since what
training maximises says nothing of where it went too far (over-optimisation, arXiv:2210.10760).
"""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from components.cases.case import Case
from components.lineage import stable_fraction
from components.training.selection import Measure

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.rewards.oracle import Oracle

LONGEST_ANSWER = 64  # tokens
JUDGED_BY_ORACLE = "preference"  # the suite; a verifier grades the others


def chosen_cases(cases: Sequence[Case], *, suites: Sequence[str], count: int) -> list[Case]:
    """Return up to `count` cases of each suite, chosen by their ids alone."""
    ordered = sorted(cases, key=lambda case: stable_fraction("answer quality", case.id))
    return [case for suite in suites for case in [case for case in ordered if case.suite == suite][:count]]


def answer_quality(cases: Sequence[Case], tokenizer: "PreTrainedTokenizerFast", oracle: "Oracle") -> Measure:
    """Return the measure: the mean over the suites of the mean score of greedy answers, 0..1; unscored answers left out."""
    from components.generation.conversations import sample_conversations
    from components.generation.native_sampler import NativeSampler
    from components.generation.sampler import SamplingOptions
    from components.rewards.verifiers.registry import verify

    def grade(case: Case, text: str) -> float | None:
        return oracle.judge(case, text).overall if case.suite == JUDGED_BY_ORACLE else verify(case, text).score

    def measure(model: "PreTrainedModel") -> float:
        options = SamplingOptions(max_new_tokens=LONGEST_ANSWER, temperature=0.0)
        answers = sample_conversations(NativeSampler(model, tokenizer, precision="auto"), tokenizer, [case.messages for case in cases], options)
        scores: dict[str, list[float]] = {}
        for case, (answer,) in zip(cases, answers, strict=True):
            score = grade(case, answer.text)
            if score is not None:
                scores.setdefault(case.suite, []).append(score)
        return fmean(fmean(values) for values in scores.values())

    return measure
