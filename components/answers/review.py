"""The sheet for medical experts: reference passages, question, chosen answer, other candidates, key points (report §3.2)."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.answers.best_of_n import Query
from components.rewards.facts import QueryFacts
from components.storage.files import atomic_writer

COLUMNS = ("case_id", "question", "passages", "documents", "chosen_answer", "is_fallback", "other_candidates", "key_points", "verdict", "corrected_answer", "reviewer")
OTHER_CANDIDATES = 3


def review_row(query: Query, answer: str, *, passages: Sequence[str], documents: Sequence[str], key_points: Sequence[str]) -> dict[str, Any]:
    """Return one row; `documents` are the ids of those the passages stand in, and the last three columns are the reviewer's."""
    chosen = query.candidates[query.chosen].text if query.chosen is not None else None
    others = list(dict.fromkeys(candidate.text for candidate in query.candidates if candidate.text != chosen))
    return {
        "case_id": query.case.id,
        "question": query.case.prompt.splitlines()[-1],
        "passages": list(passages),
        "documents": list(documents),
        "chosen_answer": answer,
        "is_fallback": query.chosen is None,
        "other_candidates": others[:OTHER_CANDIDATES],
        "key_points": list(key_points),
        "verdict": "",
        "corrected_answer": "",
        "reviewer": "",
    }


def key_points_of(facts: QueryFacts) -> list[str]:
    """Return what a complete answer names, one line an aspect, and the drugs to avoid."""
    kb, lines = facts.kb, []
    for kind in facts.aspects:
        names = sorted(_name(facts, kind, key) for key in facts.best(kind))
        lines.append(f"{kind.replace('_', ' ')}: {', '.join(names)}")
    unsafe = sorted(kb.drugs[drug].name for drug in facts.contraindicated & set(facts.disease.first_line_drugs))
    if unsafe:
        lines.append(f"avoid: {', '.join(unsafe)}")
    return lines


def write_review_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV for a spreadsheet; lists become lines within a cell."""
    with atomic_writer(path) as stream:
        writer = csv.DictWriter(stream, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = "\n".join(value)
    # A cell that begins like a formula must not run in a spreadsheet.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _name(facts: QueryFacts, kind: str, key: str) -> str:
    if kind == "drug":
        return facts.kb.drugs[key].name
    if kind == "test":
        return facts.kb.tests[key].name
    return key
