"""Reading back what runs kept, many at once."""

import subprocess

from components.pipeline.kept_runs import kept_runs, list_kept, read_kept
from components.pipeline.run_reference import keep_run


def test_every_run_is_read_as_it_was(fake_project):
    (fake_project / "models").mkdir()
    for run, text in (("20260101-a", "first\n"), ("20260102-b", "second, ä\n")):
        (fake_project / "dvc.lock").write_text(text)
        (fake_project / "models" / "base.json").write_text("{}")
        keep_run(fake_project, run, message=run)
    runs = kept_runs(fake_project)
    assert [kept.run for kept in runs] == ["20260102-b", "20260101-a"]
    found = read_kept(fake_project, [(kept, path) for kept in runs for path in ("dvc.lock", "models/none.json")])
    assert found == {("20260101-a", "dvc.lock"): "first\n", ("20260102-b", "dvc.lock"): "second, ä\n"}
    assert list_kept(fake_project, runs[0], "models") == ["models/base.json"]
    assert subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=fake_project, capture_output=True, text=True, check=True).stdout == ""


def test_outside_git_nothing_is_kept(tmp_path):
    assert kept_runs(tmp_path) == [] and read_kept(tmp_path, []) == {}
