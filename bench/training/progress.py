"""What a run of the bench has measured so far, kept row by row, so that one that is cut off can go on."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.training.turns import Comparison
from components.errors import DataError, SettingsError
from components.storage.files import write_json


class Progress:
    """The rows of one run, in a file that its end removes."""

    def __init__(self, path: Path, *, of: dict[str, Any], rows: Sequence[Comparison] = ()) -> None:
        self.path, self.of, self.rows = path, of, list(rows)

    @classmethod
    def begin(cls, path: Path, *, of: dict[str, Any], goes_on: bool) -> "Progress":
        """Start with no rows, or with those of a run that was cut off.

        Args:
            of: what a run is of: commit, plan, processor; JSON values.
            goes_on: take up the rows in the file, if there is one.
        Raises:
            SettingsError: they are of something else.
            DataError: the file cannot be read.
        """
        if not goes_on or not path.exists():
            return cls(path, of=of)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            rows = [Comparison(**{**row, "ours": tuple(row["ours"]), "peer": tuple(row["peer"])}) for row in kept["rows"]]
            before = kept["of"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({type(error).__name__}); delete it, or leave --go-on out") from error
        changed = [name for name, value in of.items() if before.get(name) != value]
        if changed:
            raise SettingsError(f"--go-on: the rows in {path} are of another {', '.join(changed)}; leave --go-on out to measure all anew")
        return cls(path, of=of, rows=rows)

    def measured(self, work: str, size: str, precision: str) -> list[Comparison]:
        """Return the rows of one work at one place; empty where it was not finished."""
        return [row for row in self.rows if (row.work, row.size, row.precision) == (work, size, precision)]

    def add(self, rows: Sequence[Comparison]) -> None:
        """Keep the rows of one work at one place."""
        self.rows.extend(rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"of": self.of, "rows": [dataclasses.asdict(row) for row in self.rows]})

    def end(self) -> None:
        """Remove the file: the run is over, and its result lies elsewhere."""
        self.path.unlink(missing_ok=True)
