"""The rows of dvc.yaml in the order they run. DVC owns the graph; this reads it without importing DVC."""

from dataclasses import dataclass
from pathlib import Path

from components.errors import SettingsError
from components.settings.settings import read_yaml
from components.stage import declared_stages

DVC_FILE = "dvc.yaml"


@dataclass(frozen=True)
class StageRow:
    """One row of dvc.yaml: what the stage reads, which sections of params.yaml, what it writes, and settings that name folders."""

    name: str
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageGraph:
    """All rows, upstream before downstream."""

    rows: tuple[StageRow, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names in running order."""
        return tuple(row.name for row in self.rows)

    def row(self, name: str) -> StageRow:
        """Return a stage's row.

        Raises:
            SettingsError: dvc.yaml has no such stage.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise SettingsError(f"{DVC_FILE}: no stage {name!r}; stages: {', '.join(self.names)}")

    def upstream(self, name: str) -> tuple[str, ...]:
        """Return the stages that make an input of the named one, in running order."""
        inputs = self.row(name).inputs
        return tuple(row.name for row in self.rows if any(overlaps(item, output) for item in inputs for output in row.outputs))

    def downstream(self, name: str) -> tuple[str, ...]:
        """Return the named stage and every stage that its outputs lead to, in running order.

        Raises:
            SettingsError: dvc.yaml has no such stage.
        """
        reached = {self.row(name).name}
        for row in self.rows:
            if reached & set(self.upstream(row.name)):
                reached.add(row.name)
        return tuple(row.name for row in self.rows if row.name in reached)


def load_graph(root: Path) -> StageGraph:
    """Read dvc.yaml of the project at `root`.

    Raises:
        SettingsError: the file is missing or malformed, or its stages depend on each other in a circle.
    """
    try:
        declared = declared_stages(read_yaml(root / DVC_FILE))
    except (KeyError, AttributeError, TypeError):
        raise SettingsError(f"{root / DVC_FILE}: not a stage graph; expected `stages:` with a row for each stage") from None
    rows = [StageRow(name, row["params"], row["deps"], row["outs"], row["folders"]) for name, row in declared.items()]
    return StageGraph(tuple(_ordered(rows)))


def _ordered(rows: list[StageRow]) -> list[StageRow]:
    """Order rows so that makers come before users, otherwise as the file has them."""
    ordered: list[StageRow] = []
    waiting = list(rows)
    while waiting:
        for row in waiting:
            others = [other for other in waiting if other is not row]
            if not any(overlaps(item, output) for item in row.inputs for other in others for output in other.outputs):
                break
        else:
            raise SettingsError(f"{DVC_FILE}: stages depend on each other in a circle: {', '.join(row.name for row in waiting)}")
        ordered.append(row)
        waiting.remove(row)
    return ordered


def overlaps(first: str, second: str) -> bool:
    """Say whether two paths are equal or one lies inside the other."""
    return first == second or first.startswith(f"{second.rstrip('/')}/") or second.startswith(f"{first.rstrip('/')}/")
