"""DVC's remote in a real object store: what one clone pushes, another pulls."""

import shutil

import pytest

pytestmark = pytest.mark.slow


def test_data_pushed_to_a_bucket_come_back(fake_project, s3_server, monkeypatch):
    from dvc.repo import Repo

    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.bucket()
    config = fake_project / ".dvc" / "config"
    config.write_text(config.read_text().replace("../var/dvc-remote", f"s3://{bucket}/dvc"))
    data = fake_project / "documents"
    data.mkdir()
    for number in range(3):
        (data / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
    monkeypatch.chdir(fake_project)
    with Repo(str(fake_project)) as repo:
        repo.add(str(data))
        assert repo.push() == 4  # three files and their listing
        shutil.rmtree(data)
        shutil.rmtree(fake_project / "var" / "dvc-cache")
        repo.pull(["documents.dvc"])
    assert sorted(path.read_text() for path in data.iterdir()) == [f'{{"id": {number}}}\n' for number in range(3)]
    assert list((s3_server.folder / bucket / "dvc").rglob("*.dir"))
