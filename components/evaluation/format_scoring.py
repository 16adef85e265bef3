"""The `format` suite: how well answers to the verified and examination cases keep the answer format.

It asks nothing new: the rows are read off answers already sampled, so it costs no generation.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from components.cases.case import Case
from components.evaluation.results import ItemResult
from components.evaluation.suites import FORMAT_SOURCES, RETRIEVAL


def score_format(rows: Iterable[ItemResult], cases: Mapping[str, Case]) -> list[ItemResult]:
    """Return a `format` row for every answer of the source suites (with retrieval left out).

    Args:
        rows: sampled answers of one model.
        cases: the cases by id.
    """
    from components.rewards.format_reward import format_score

    return [
        dataclasses.replace(
            row, suite="format", cell=row.suite, condition="", is_abstained=False, score=float(format_score(cases[row.case_id], row.text)), text=""
        )
        for row in rows
        if row.suite in FORMAT_SOURCES and row.condition != RETRIEVAL
    ]
