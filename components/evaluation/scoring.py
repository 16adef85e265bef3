"""Scores of cases: sampled answers through the verifiers and the oracle, probes through the likelihood of options.

A grader that raises yields an unscored item (score None), never a 0; an answer nothing could be read from is wrong and
also counted as abstained.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.cases.case import Case
from components.evaluation.results import ItemResult
from components.evaluation.suites import SUITE_MODES

if TYPE_CHECKING:
    from components.generation.sampler import Sampler, SamplingOptions
    from components.rewards.oracle import Oracle

Progress = Callable[[int, int], None]


def score_cases(
    sampler: "Sampler",
    tokenizer: object,
    cases: Sequence[Case],
    *,
    options: "SamplingOptions",
    oracle: "Oracle | None" = None,
    samplings: Mapping[str, int] | None = None,
    condition: str = "",
    progress: Progress | None = None,
) -> list[ItemResult]:
    """Sample an answer to each case and grade it.

    Args:
        sampler: draws the answers.
        tokenizer: of the sampler's model; renders the chat template.
        cases: of any suite but `probes`, in the order the results come back in.
        options: temperature, length and seed; its `samples` is replaced.
        oracle: judges cases whose verifier is `oracle`; without it they stay unscored.
        samplings: answers a case, by suite; 1 where absent.
        condition: noted on every row, such as `retrieval`.
        progress: called with (cases done, cases in all).
    Returns:
        One row a case and sampling, cases in order.
    """
    from components.generation.conversations import sample_conversations

    by_count: dict[int, list[int]] = {}
    for position, case in enumerate(cases):
        by_count.setdefault((samplings or {}).get(case.suite, 1), []).append(position)
    rows: dict[int, list[ItemResult]] = {}
    finished = 0
    for count, positions in sorted(by_count.items()):
        answers = sample_conversations(
            sampler, tokenizer, [cases[position].messages for position in positions],
            dataclasses.replace(options, samples=count), progress=_shifted(progress, finished, len(cases)),
        )  # fmt: skip
        for position, completions in zip(positions, answers, strict=True):
            case = cases[position]
            rows[position] = [
                grade_answer(case, completion.text, oracle=oracle, sampling=number, condition=condition)
                for number, completion in enumerate(completions)
            ]
        finished += len(positions)
    return [row for position in range(len(cases)) for row in rows[position]]


def grade_answer(case: Case, text: str, *, oracle: "Oracle | None" = None, sampling: int = 0, condition: str = "") -> ItemResult:
    """Grade one answer through the case's verifier, or the oracle."""
    score, is_abstained = _grade(case, text, oracle)
    return ItemResult(
        suite=case.suite, task=case.task, case_id=case.id, cluster=case.cluster, sampling=sampling, score=score,
        is_abstained=is_abstained, text=text, cell=breakdown_cell(case), condition=condition,
    )  # fmt: skip


def breakdown_cell(case: Case) -> str:
    """Return where the case stands in its suite's breakdown: exam level/type, probe set/leading text, else the task."""
    if case.suite == "exam":
        return f"{case.reference.get('level', 'any')}/{case.reference.get('type', 'any')}"
    if case.suite == "probes":
        return f"{case.reference.get('set', 'fact')}/{'leading' if case.reference.get('leading') else 'plain'}"
    return case.task


def _grade(case: Case, text: str, oracle: "Oracle | None") -> tuple[float | None, bool]:
    from components.rewards.verifiers.registry import verify

    try:
        if SUITE_MODES[case.suite] == "oracle" or case.verifier == "oracle":
            return (float(oracle.judge(case, text).overall) if oracle else None), not text.strip()
        verdict = verify(case, text)
    except Exception:  # a grader that crashes must not score the model 0, nor end an evaluation of thousands of items
        return None, False
    return verdict.score, verdict.is_abstained


def _shifted(progress: Progress | None, finished: int, total: int) -> Progress | None:
    """Turn the progress of one call into that of all."""
    if progress is None:
        return None
    return lambda done, _: progress(finished + done, total)
