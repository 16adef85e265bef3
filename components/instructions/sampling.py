"""From cases to samples: which suites teach, how many of each task, the final answer as the assistant's turn."""

from collections.abc import Iterable

from components.cases.case import Case
from components.conversations import Message, Sample
from components.lineage import stable_fraction

# Probes only measure. Verified questions teach their final answer alone here; cold start adds the reasoning.
TAUGHT_SUITES = ("ability", "verified", "exam", "grounded", "preference", "safety")


def sample_of(case: Case) -> Sample:
    """Return a case's question with its full-mark answer as a sample."""
    return Sample(
        id=f"instruction-{case.id}",
        task=case.task,
        group=case.group,
        level=case.level,
        messages=(*case.messages, Message(role="assistant", content=case.answer)),
        case_id=case.id,
        source_ids=case.source_ids,
        record_ids=case.record_ids,
    )


def select_cases(cases: Iterable[Case], *, samples_per_task: int, seed: int) -> list[Case]:
    """Return at most `samples_per_task` cases of each task of the taught suites, drawn by a seeded hash of their id."""
    by_task: dict[str, list[Case]] = {}
    for case in cases:
        if case.suite in TAUGHT_SUITES:
            by_task.setdefault(case.task, []).append(case)
    chosen: list[Case] = []
    for name in sorted(by_task):
        ranked = sorted(by_task[name], key=lambda case: (stable_fraction(str(seed), "instructions", case.id), case.id))
        chosen += ranked[:samples_per_task]
    return chosen
