"""What a model is asked: the test cases cut into parts, one a suite, and the examination once more with passages.

A part is the unit of storage and of resuming. The part with retrieval asks a fixed subset of the examination cases,
each with the index's best passages written before the question, so the two conditions compare on the same questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.cases.case import Case, Passage
from components.evaluation.suites import CLOSED_BOOK, RETRIEVAL, SUITE_MODES
from components.lineage import stable_fraction
from components.retrieval.prompts import grounded_messages, relevant_extract

if TYPE_CHECKING:
    from components.retrieval.index import RetrievalIndex, RetrievedPassage


@dataclass(frozen=True)
class Part:
    """Cases of one suite asked in one condition."""

    name: str
    suite: str
    condition: str
    cases: tuple[Case, ...]


def suite_parts(cases: Sequence[Case]) -> list[Part]:
    """Return one part a suite that has cases, in the order of the suites."""
    parts = []
    for suite in SUITE_MODES:
        members = tuple(case for case in cases if case.suite == suite)
        if members:
            parts.append(Part(suite, suite, CLOSED_BOOK if suite == "exam" else "", members))
    return parts


def retrieval_part(cases: Sequence[Case], index: "RetrievalIndex", *, count: int, passages: int, maximum_words: int) -> Part | None:
    """Return the examination with passages; None where there are no examination cases or `count` is 0.

    Args:
        cases: test cases of every suite.
        index: searched with the question, options left out.
        count: cases asked so, at most; the same ones every time, chosen by their id alone.
        passages: passages before a question.
        maximum_words: words kept of each passage: the sentences nearest to the question.
    """
    exam = sorted((case for case in cases if case.suite == "exam"), key=lambda case: stable_fraction("exam with retrieval", case.id))
    chosen = sorted(exam[:count], key=lambda case: case.id)
    if not chosen:
        return None
    found = index.search_many([question_of(case) for case in chosen], count=passages)
    asked = [with_passages(case, hits, maximum_words=maximum_words) for case, hits in zip(chosen, found, strict=True)]
    return Part("exam_retrieval", "exam", RETRIEVAL, tuple(asked))


def question_of(case: Case) -> str:
    """Return the text searched for: the prompt up to its options."""
    return case.prompt.split("Options:")[0].strip()


def with_passages(case: Case, found: "Sequence[RetrievedPassage]", *, maximum_words: int) -> Case:
    """Return the case with numbered, graded extracts of the passages written before its question."""
    question = question_of(case)
    passages = tuple(
        Passage(
            document_id=hit.document_id, text=relevant_extract(hit.text, question, words=maximum_words),
            authority=hit.authority, is_relevant=False,
        )
        for hit in found
    )  # fmt: skip
    if not passages:
        return case
    return case.model_copy(update={"messages": (*case.messages[:-1], *grounded_messages(case.prompt, passages)), "passages": passages})
