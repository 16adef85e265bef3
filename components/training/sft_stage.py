"""Stage `sft`: tuning on the chosen answers, to its validation optimum: the weights of the best look are kept.

The optimum is that of the answers' quality, greedy answers to validation queries graded by the verifier (grounded) and
the oracle (general): the loss of one chosen wording rises long before answers get worse.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from components import layout
from components.cases.case import Case
from components.conversations import Sample
from components.documents import read_models
from components.lineage import stable_fraction
from components.stage import StageContext
from components.training.supervised.loop import Measure
from components.training.tuned_model import tune_and_publish

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.rewards.oracle import Oracle

SEED_OFFSET = 300
SUITES = ("grounded", "preference")
LONGEST_ANSWER = 64  # tokens


def run(context: StageContext) -> None:
    """Tune and publish `sft`."""
    from components.knowledge_base.loading import load_knowledge_base
    from components.modeling.tokenizers import load_tokenizer
    from components.rewards.oracle import Oracle

    cases = chosen_cases(read_models(context.read(layout.VALIDATION_CASES), Case), count=context.section("sft").measured_cases)
    oracle = Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    tune_and_publish(
        context,
        read_models(context.read(layout.ANSWERS), Sample),
        parent=layout.IFT,
        output=layout.SFT,
        seed_offset=SEED_OFFSET,
        validation=read_models(context.read(layout.ANSWERS_VALIDATION), Sample),
        measure=answer_quality(cases, load_tokenizer(context.fetch_model(layout.IFT)), oracle),
    )


def chosen_cases(cases: Sequence[Case], *, count: int) -> list[Case]:
    """Return up to `count` cases of each suite, chosen by their ids alone."""
    ordered = sorted(cases, key=lambda case: stable_fraction("sft validation", case.id))
    return [case for suite in SUITES for case in [case for case in ordered if case.suite == suite][:count]]


def answer_quality(cases: Sequence[Case], tokenizer: "PreTrainedTokenizerFast", oracle: "Oracle") -> Measure:
    """Return the measure: the mean over the suites of the mean score of greedy answers, 0..1."""
    from components.generation.conversations import sample_conversations
    from components.generation.native_sampler import NativeSampler
    from components.generation.sampler import SamplingOptions
    from components.rewards.verifiers.registry import verify

    def grade(case: Case, text: str) -> float | None:
        return verify(case, text).score if case.suite == "grounded" else oracle.judge(case, text).overall

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
