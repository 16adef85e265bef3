"""How a trial's model is measured on the validation cases of the ability suites, group by group.

  likelihood  the geometric mean of the probability of each token of the full-mark answers: exp(−mean loss). Smooth from
              the first step on, and no answer need be sampled.
  verifier    the verifiers' mean score of greedy answers: what the suites report, but at 0 for every mix until a run is
              long enough to answer at all.
A laptop's trial of two dozen steps stands where `verifier` still reads 0.00 to 0.10 whatever the mix (measured), so the
search would follow noise: `likelihood` is the default, and the comparison after it uses the same measure.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from components.cases.case import Case
from components.conversations import Message, Sample
from components.evaluation.scoring import score_cases
from components.settings.training import SupervisedSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Measure = Callable[["PreTrainedModel", "PreTrainedTokenizerFast", Sequence[Case], SupervisedSettings], dict[str, float]]
ANSWER_TOKENS = 32


def answer_likelihood(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", cases: Sequence[Case], settings: SupervisedSettings
) -> dict[str, float]:
    """Return each group's geometric-mean token probability of the full-mark answers, in (0, 1]."""
    from components.training.supervised.examples import chat_examples
    from components.training.supervised.loss import mean_loss

    scores = {}
    for group, members in _by_group(cases).items():
        samples = [
            Sample(id=case.id, task=case.task, group=group, messages=(*case.messages, Message(role="assistant", content=case.answer)))
            for case in members
        ]
        examples = chat_examples(tokenizer, samples, context=model.config.max_position_embeddings)
        fitting = [example for example in examples if example]
        scores[group] = math.exp(-mean_loss(model, fitting, precision=settings.precision, micro_tokens=settings.micro_tokens))
    return scores


def verified_share(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", cases: Sequence[Case], settings: SupervisedSettings
) -> dict[str, float]:
    """Return each group's mean verifier score of greedy answers; answers no grader could score are left out."""
    from components.generation.native_sampler import NativeSampler
    from components.generation.sampler import SamplingOptions

    sampler = NativeSampler(model, tokenizer, precision=settings.precision)
    greedy = SamplingOptions(max_new_tokens=ANSWER_TOKENS, temperature=0.0)
    scores = {}
    for group, members in _by_group(cases).items():
        scored = [row.score for row in score_cases(sampler, tokenizer, members, options=greedy) if row.score is not None]
        scores[group] = sum(scored) / max(1, len(scored))
    return scores


MEASURES: dict[str, Measure] = {"likelihood": answer_likelihood, "verifier": verified_share}


def _by_group(cases: Sequence[Case]) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    return dict(sorted(groups.items()))
