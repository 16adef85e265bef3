"""Stored results: one file a (model digest, items digest), so that no model is scored twice on the same items.

A killed evaluation loses at most the part it was writing; a champion of an earlier run is read, not asked again. The
items digest covers everything a score depends on beside the model: the cases with their prompts and references, the
sampling settings, the source code of the rooms that generate and grade, and the oracle's knowledge base.
"""

from collections.abc import Sequence
from pathlib import Path

from components.cases.case import Case
from components.errors import StorageError
from components.evaluation.results import ItemResult, read_results, write_results
from components.lineage import digest_file, digest_folder, digest_value

# Rooms whose code decides a score; of `evaluation`, not what is computed from the rows afterwards.
SCORING_ROOMS = ("cases", "evaluation", "generation", "modeling", "rewards")
AFTERWARDS = ("evaluation/report/", "evaluation/claims.py", "evaluation/metrics.py", "evaluation/evaluate_stage.py")


def grading_digest(knowledge_base: Path) -> str:
    """Return the digest of what turns answers into scores: the source code of the scoring rooms and the knowledge base."""
    components = Path(__file__).resolve().parents[1]
    files = sorted(path for room in SCORING_ROOMS for path in (components / room).rglob("*.py"))
    named = [(path.relative_to(components).as_posix(), path) for path in files]
    code = [[name, digest_file(path)] for name, path in named if not name.startswith(AFTERWARDS)]
    return digest_value([code, digest_folder(knowledge_base)])


def items_digest(cases: Sequence[Case], *, settings: object, grading: str) -> str:
    """Return the digest of what is asked and how: cases, JSON-serialisable sampling settings, grading."""
    return digest_value([[case.model_dump(mode="json") for case in cases], settings, grading])


class ResultStore:
    """Results under `<root>/<model digest>/<part>-<items digest>.parquet`, each written atomically."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def load(self, model_digest: str, part: str, items: str) -> list[ItemResult] | None:
        """Return the stored rows; None where there are none, or the file is damaged (it is then scored anew)."""
        path = self._path(model_digest, part, items)
        if not path.is_file():
            return None
        try:
            return [row for rows in read_results(path).values() for row in rows]
        except StorageError:
            return None

    def save(self, model_digest: str, part: str, items: str, rows: Sequence[ItemResult]) -> None:
        """Store the rows of one part."""
        write_results(self._path(model_digest, part, items), [(model_digest, row) for row in rows])

    def _path(self, model_digest: str, part: str, items: str) -> Path:
        return self.root / model_digest[:32] / f"{part}-{items[:32]}.parquet"
