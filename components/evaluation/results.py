"""One row an item and sampling: what every number of the evaluation is computed from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.evaluation.suites import RETRIEVAL
from components.storage.files import atomic_writer


@dataclass(frozen=True)
class ItemResult:
    """One answer to one case and its score in [0, 1]; None where the grader could not score it (left out, counted)."""

    suite: str
    task: str
    case_id: str
    cluster: str
    sampling: int
    score: float | None
    is_abstained: bool
    text: str
    cell: str = ""  # where it stands in the suite's breakdown, such as "junior/single"
    condition: str = ""  # exam: closed_book or retrieval


@dataclass(frozen=True)
class CaseScores:
    """The mean score of each case over its samplings, and each case's cluster."""

    scores: dict[str, float]
    clusters: dict[str, str]


def headline(results: Iterable[ItemResult], suite: str) -> list[ItemResult]:
    """Return the rows a suite's one number is made of: all of them, but of the exam only the closed-book ones."""
    return [row for row in results if row.suite == suite and row.condition != RETRIEVAL]


def case_scores(results: Iterable[ItemResult]) -> CaseScores:
    """Average the scored samplings of each case; a case with none scored is left out."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    clusters: dict[str, str] = {}
    for row in results:
        if row.score is not None:
            scores[row.case_id].append(row.score)
            clusters[row.case_id] = row.cluster
    return CaseScores({case: sum(values) / len(values) for case, values in sorted(scores.items())}, clusters)


def write_results(path: Path, rows: Sequence[tuple[str, ItemResult]]) -> None:
    """Write (model, row) pairs as Parquet, atomically; equal rows are equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
    for model, row in rows:
        for name, value in {"model": model, **asdict(row)}.items():
            columns[name].append(value)
    table = pa.table(columns, schema=_schema())
    with atomic_writer(path, "wb") as stream:
        pq.write_table(table, stream, compression="zstd")


def read_results(path: Path) -> dict[str, list[ItemResult]]:
    """Read a results file as {model: rows}.

    Raises:
        StorageError: the file is missing, or is not a results file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, schema=_schema()).to_pylist()
    except FileNotFoundError:
        raise StorageError(f"{path}: no such results; run `quarkmed stage evaluate`") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{path}: not a results file ({error}); delete it and run the evaluation again") from None
    by_model: defaultdict[str, list[ItemResult]] = defaultdict(list)
    for row in rows:
        by_model[row.pop("model")].append(ItemResult(**row))
    return dict(by_model)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("model", pa.string()), ("suite", pa.string()), ("task", pa.string()), ("cell", pa.string()),
            ("condition", pa.string()), ("case_id", pa.string()), ("cluster", pa.string()), ("sampling", pa.int32()),
            ("score", pa.float64()), ("is_abstained", pa.bool_()), ("text", pa.string()),
        ]
    )  # fmt: skip
