"""An unexpected exception in a stage that reads patients' text is known by its type and place: its words may quote the text.

Exceptions of components/errors.py say ids, lines and counts and pass as they are, and so does what the system says of
files and memory.
"""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from components import layout
from components.errors import QuarkmedError
from components.launch.failures import classify_failure
from components.pipeline.graph import StageRow

RAW = (layout.RAW_DOCUMENTS, layout.RAW_RECORDS, layout.GOLD_SPANS)  # the only files with identifiers in them


class WordsWithheld(Exception):
    """Stands for another exception; its traceback is that one's."""


@contextlib.contextmanager
def withheld_words(row: StageRow) -> Iterator[None]:
    """Let no words of an unexpected exception out of a stage that reads or writes patients' text.

    Raises:
        WordsWithheld: in its place, naming its type, file and line.
    """
    try:
        yield
    except Exception as error:
        if not reads_raw_text(row) or type(classify_failure(error)) is not QuarkmedError or type(error) is QuarkmedError:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno} (its words are withheld: stage {row.name} reads patients' text)"
        raise WordsWithheld(said).with_traceback(error.__traceback__) from None


def reads_raw_text(row: StageRow) -> bool:
    """Say whether a file with identifiers is among a stage's inputs or outputs."""
    paths = [path.rstrip("/") for path in (*row.inputs, *row.outputs)]
    return any(raw == path or raw.startswith(f"{path}/") for raw in RAW for path in paths)
