"""dvc.lock as a graph: which data version each stage read and made, with the parameters it read. Reads text, not DVC."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from components.errors import StorageError
from components.pipeline.graph import overlaps

CODE = "components/"
MODELS = "models/"


@dataclass(frozen=True)
class DataVersion:
    """One version of a path: DVC's MD5 (`….dir` of a folder), size in bytes, number of files of a folder."""

    path: str
    md5: str
    size: int | None = None
    files: int | None = None

    @property
    def is_code(self) -> bool:
        """Say whether the path is a part of the program."""
        return self.path.startswith(CODE)


@dataclass(frozen=True)
class LockedStage:
    """What one stage read and made the last time it was committed."""

    name: str
    inputs: tuple[DataVersion, ...]
    outputs: tuple[DataVersion, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class LockedGraph:
    """Every stage of one dvc.lock."""

    stages: tuple[LockedStage, ...]

    @cached_property
    def outputs(self) -> dict[str, DataVersion]:
        """Return {path: version} of everything made."""
        return {item.path: item for stage in self.stages for item in stage.outputs}

    def maker(self, path: str) -> LockedStage | None:
        """Return the stage among whose outputs the path is, or lies."""
        return next((stage for stage in self.stages if any(overlaps(path, item.path) for item in stage.outputs)), None)

    def upstream(self, path: str) -> tuple[LockedStage, ...]:
        """Return the stages that the path was made by, makers before users, the path's own maker last."""
        last = self.maker(path)
        return self._with_makers([last] if last is not None else [])

    @property
    def ordered(self) -> tuple[LockedStage, ...]:
        """Return all stages, makers before users."""
        return self._with_makers(self.stages)

    def _with_makers(self, wanted: Iterable[LockedStage]) -> tuple[LockedStage, ...]:
        ordered: dict[str, LockedStage] = {}

        def visit(stage: LockedStage, above: tuple[str, ...]) -> None:
            if stage.name in ordered or stage.name in above:
                return
            for item in stage.inputs:
                maker = self.maker(item.path)
                if maker is not None:
                    visit(maker, (*above, stage.name))
            ordered[stage.name] = stage

        for stage in wanted:
            visit(stage, ())
        return tuple(ordered.values())


def read_lock(text: str, *, name: str) -> LockedGraph:
    """Parse a dvc.lock.

    Args:
        name: what the text is called in messages.
    Raises:
        StorageError: it is not a dvc.lock.
    """
    try:
        parsed = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        return LockedGraph(tuple(parse_stage(stage, row) for stage, row in parsed.get("stages", {}).items()))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise StorageError(f"{name}: not a dvc.lock; run `make retrain`, which mends it, or check the run's commit") from None


def parse_stage(name: str, row: Mapping[str, Any]) -> LockedStage:
    """Return one stage's entry of a dvc.lock, or of DVC's run cache."""
    return LockedStage(name, _versions(row.get("deps", [])), _versions(row.get("outs", [])), row.get("params", {}).get("params.yaml", {}))


def _versions(items: list[Mapping[str, Any]]) -> tuple[DataVersion, ...]:
    return tuple(DataVersion(item["path"], str(item.get("md5", "")), item.get("size"), item.get("nfiles")) for item in items)
