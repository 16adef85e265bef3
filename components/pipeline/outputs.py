"""A stage's outputs while new ones are made: the old ones stand aside, and come back where the attempt fails.

Aside is a hidden name beside each output (`artifacts/.sources.part`), so that moving is one rename on the same disk.
A kill leaves them there: the next attempt throws the killed one's halves away and keeps what stands aside.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from components.pipeline.graph import StageRow


@contextlib.contextmanager
def replaced_outputs(root: Path, row: StageRow) -> Iterator[None]:
    """Take a stage's outputs away; put them back where the block raises, forget them where it ends well."""
    paths = [root / path for path in row.outputs]
    for path in paths:
        if _exists(_aside(path)):
            _remove(path)
        elif _exists(path):
            path.rename(_aside(path))
    try:
        yield
    except BaseException:
        for path in paths:
            _remove(path)
            if _exists(_aside(path)):
                _aside(path).rename(path)
        raise
    for path in paths:
        _remove(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
