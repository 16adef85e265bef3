"""Knowledge probes: the option with the highest mean log-probability a token is what the model believes.

Mean, not sum, so that a long option is not punished for its length (the harness world's `acc_norm`). Options are not
shown to the model: each is scored as a continuation, after a space, of the probe's raw text.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.cases.case import Case
from components.evaluation.results import ItemResult
from components.evaluation.scoring import Progress, breakdown_cell

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.modeling.precision import Precision


def score_probes(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", cases: Sequence[Case], *,
    precision: "Precision" = "auto", progress: Progress | None = None,
) -> list[ItemResult]:  # fmt: skip
    """Score each probe 1 where the gold option (the first) is likeliest, 1/k where k options tie with it, else 0."""
    from components.modeling.likelihood import option_logprobs

    prefixes = [case.prompt.rstrip() for case in cases]
    options = [[f" {option.strip()}" for option in case.options] for case in cases]
    logprobs = option_logprobs(model, tokenizer, prefixes, options, precision=precision, progress=progress)
    return [_row(case, values) for case, values in zip(cases, logprobs, strict=True)]


def probe_score(logprobs: Sequence[float]) -> float:
    """Return 1 where the first is the strict maximum, 1/k where it ties with k − 1 others, else 0."""
    best = max(logprobs)
    return 1.0 / sum(value == best for value in logprobs) if logprobs[0] == best else 0.0


def _row(case: Case, logprobs: list[float]) -> ItemResult:
    chosen = case.options[logprobs.index(max(logprobs))]
    return ItemResult(
        suite=case.suite, task=case.task, case_id=case.id, cluster=case.cluster, sampling=0, score=probe_score(logprobs),
        is_abstained=False, text=chosen, cell=breakdown_cell(case),
    )  # fmt: skip
