"""Which documents kept what out of validation and test: ids only, for `quarkmed who-used`; nothing is drawn or made of it.

Two rules keep a question out: a patient's record shows its combination of features (`reserving.py`), or words of it stand
in the corpus (`decontamination.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.cases.case import Case
from components.cases.decontamination import grams_of, question_of
from components.cases.generating import Splitting
from components.documents import Document
from components.lineage import digest_bytes

ID_LETTERS = 12


def kept_by_records(reserved: Mapping[str, Sequence[str]], splitting: Splitting, train: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """Yield, for each combination that would be held out if no record showed it, whose records those are.

    Args:
        reserved: combination → ids of the records that show it.
        train: the training cases; those that ask for the combination are named.
    Yields:
        {"id", "why": "record", "source_ids": the records, "split": what it was kept out of, "case_ids"}, by combination.
    """
    unreserved = replace(splitting, reserved=frozenset())
    asking: dict[str, list[str]] = {}
    for case in train:
        asking.setdefault(case.combination, []).append(case.id)
    for combination in sorted(reserved):
        split = unreserved.split_of(combination)
        if split != "train":
            name = f"reserved-{digest_bytes(combination.encode())[:ID_LETTERS]}"
            yield {"id": name, "why": "record", "source_ids": list(reserved[combination]), "split": split, "case_ids": asking.get(combination, [])}


def kept_by_words(refused: Iterable[Case], documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
    """Yield, for each drawn question that was refused since words of it stand in the corpus, the documents they stand in.

    Yields:
        {"id", "why": "words", "source_ids": the documents, "split", "case_ids": none}, by the question's id.
    """
    cases = {case.id: case for case in refused}
    asking: dict[str, list[str]] = {}
    for case in cases.values():
        for gram in set(grams_of(question_of(case))):
            asking.setdefault(gram, []).append(case.id)
    holding: dict[str, dict[str, None]] = {identifier: {} for identifier in cases}
    for document in documents if asking else ():
        for identifier in {name for gram in grams_of(document.text) for name in asking.get(gram, ())}:
            holding[identifier][document.id] = None
    for identifier in sorted(cases):
        yield {"id": f"refused-{identifier}", "why": "words", "source_ids": list(holding[identifier]), "split": cases[identifier].split, "case_ids": []}
