"""The stage's record: appended whole lines, rewound exactly on resume."""

from components.recorder import Recorder, read_record


def _steps(folder):
    return [entry["step"] for entry in read_record(folder) if entry["kind"] == "metrics"]


def test_rewinding_drops_what_came_after_the_checkpoint(tmp_path):
    recorder = Recorder(tmp_path, now=lambda: 0.0)
    recorder.metrics({"loss": 3.0}, step=1)
    position = recorder.position()
    recorder.metrics({"loss": 2.0}, step=2)

    resumed = Recorder(tmp_path, now=lambda: 0.0)
    resumed.rewind(position, step=1)
    resumed.metrics({"loss": 2.0}, step=2)

    assert _steps(tmp_path) == [1, 2]
    assert [entry["kind"] for entry in read_record(tmp_path)] == ["metrics", "resumed", "metrics"]


def test_a_line_torn_by_a_crash_is_dropped(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.metrics({"loss": 3.0}, step=1)
    with recorder.path.open("a") as stream:
        stream.write('{"time": 1, "kind": "metr')

    assert _steps(tmp_path) == [1]
    Recorder(tmp_path).metrics({"loss": 2.0}, step=2)
    assert _steps(tmp_path) == [1, 2]


def test_progress_is_thinned_but_its_end_is_kept(tmp_path):
    recorder = Recorder(tmp_path, now=lambda: 100.0)
    for done in range(1, 11):
        recorder.progress(done, 10)
    # one at the first call, none while the clock stands still, and the last
    assert [entry["done"] for entry in read_record(tmp_path)] == [1, 10]
