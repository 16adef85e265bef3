"""A bench that is cut off goes on where it was, and with no rows of anything else."""

import pytest

from bench.training.progress import Progress
from bench.training.turns import Comparison
from components.errors import DataError, SettingsError

OF = {"commit": "a1", "plan": {"pairs": 2, "sizes": ["1", "3"]}}
ROWS = [
    Comparison("rollout", kind, "1", "float32", "tokens/s", (3.0, 4.5), (1.0, 1.5), {"ours_tokens": 7.0}) for kind in ("fixed", "stops")
]  # fmt: skip


def _cut_off(path):
    run = Progress.begin(path, of=OF, goes_on=False)
    run.add(ROWS)


def test_going_on_has_the_rows_of_the_run_that_was_cut_off(tmp_path):
    path = tmp_path / "later" / "progress.json"
    _cut_off(path)
    run = Progress.begin(path, of=OF, goes_on=True)
    assert run.measured("rollout", "1", "float32") == ROWS
    assert run.measured("rollout", "3", "float32") == run.measured("sft", "1", "float32") == []
    assert Progress.begin(path, of=OF, goes_on=False).rows == []
    run.end()
    assert Progress.begin(path, of=OF, goes_on=True).rows == []


def test_rows_of_another_commit_are_refused_by_name(tmp_path):
    path = tmp_path / "progress.json"
    _cut_off(path)
    with pytest.raises(SettingsError, match=r"of another commit, plan; leave --go-on out"):
        Progress.begin(path, of={"commit": "b2", "plan": {"pairs": 3, "sizes": ["1", "3"]}}, goes_on=True)


@pytest.mark.parametrize("text", ["", "[]", '{"of": {}}', '{"of": {}, "rows": [{"ours": [], "peer": []}]}'])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "progress.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"progress.json: cannot be read"):
        Progress.begin(path, of=OF, goes_on=True)
