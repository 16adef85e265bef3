"""The stored result of `make bench NAME=controls`: the one form the bench writes and the report reads.

`bench/results/controls-<YYYY-MM-DD>.json`. Scores and differences are shares of full marks, 0 to 1.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import DataError
from components.storage.files import read_json


class SeedDifference(BaseModel):
    """One seed: both scores on the same test items, and their paired difference with its interval over items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    score: float
    control_score: float
    difference: float
    low: float = Field(description="bootstrap over clusters of items")
    high: float
    n: int = Field(description="items")
    clusters: int


class ControlRow(BaseModel):
    """One control on one suite, over all seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="what the recipe makes")
    control: str = Field(description="what it is held against, in words")
    suite: str
    seeds: tuple[SeedDifference, ...]
    mean: float = Field(description="of the seeds' differences")
    low: float | None = Field(description="t interval of that mean over seeds; null with one seed")
    high: float | None


class StoredControls(BaseModel):
    """A whole result: what was measured, where and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str = Field(description="YYYY-MM-DD")
    cpu: str
    threads: int = Field(description="torch threads")
    git_sha: str | None
    is_clean: bool | None = Field(description="whether the checkout had no uncommitted change; null outside git")
    profile: str | None = Field(description="file laid over params.yaml; null: params.yaml as it is")
    settings: str = Field(description="digest of the resolved settings")
    confidence: float
    seeds: tuple[int, ...]
    rows: tuple[ControlRow, ...]
    details: dict[str, Any] = Field(default_factory=dict, description="by seed: compute of the supervised controls, ratios tried, queries answered otherwise")


def last_controls(folder: Path) -> tuple[str, StoredControls] | None:
    """Return (file name, content) of the newest stored `controls-*.json`, or None; the names sort by date.

    Raises:
        DataError: the newest file is not such a result.
    """
    stored = sorted(folder.glob("controls-*.json"))
    if not stored:
        return None
    path = stored[-1]
    try:
        return path.name, StoredControls.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise DataError(f"{path}: {where}: {first['msg']}; delete the file, or run `make bench NAME=controls` again") from None
