"""What an unexpected exception may say: everything, but not in a stage that reads patients' text."""

import errno

import pytest

from components.errors import DataError
from components.launch.failures import describe_failure
from components.pipeline.graph import StageRow
from components.pipeline.withheld_words import WordsWithheld, reads_raw_text, withheld_words

CURATE = StageRow("curate", (), ("artifacts/sources", "components/curation"), ("artifacts/curate",))
LATER = StageRow("ift", (), ("artifacts/curate/documents.jsonl",), ("models/ift.json",))


def test_the_stages_that_touch_files_with_identifiers_are_known_by_their_rows():
    assert reads_raw_text(CURATE) and reads_raw_text(StageRow("sources", (), (), ("artifacts/sources",)))
    assert reads_raw_text(StageRow("x", (), ("artifacts/sources/records.jsonl",), ()))
    assert not reads_raw_text(LATER) and not reads_raw_text(StageRow("knowledge", (), ("artifacts/sources/triples.jsonl",), ()))


def test_type_and_place_are_said_and_the_words_are_nowhere(capsys):
    name = " ".join(("Maria", "Gonzalez"))
    with pytest.raises(WordsWithheld, match=r"^ValueError at test_withheld_words\.py:\d+ ") as caught, withheld_words(CURATE):
        try:
            raise KeyError(name)
        except KeyError as first:
            raise ValueError(f"cannot parse {name}") from first
    said = describe_failure(caught.value)
    assert "stage curate reads patients' text" in said["message"]
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "test_type_and_place" in printed  # the frames stand
    assert name not in printed + said["message"]


def test_what_is_meant_to_be_read_passes():
    for row, error in ((CURATE, DataError("x.jsonl:3: no id")), (CURATE, OSError(errno.ENOSPC, "No space left on device", "f")), (LATER, ValueError("shape 3"))):
        with pytest.raises(type(error)) as caught, withheld_words(row):
            raise error
        assert caught.value is error
