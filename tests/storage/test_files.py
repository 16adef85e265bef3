"""Atomic writes leave the old content or the new, never a part."""

import pytest

from components.errors import StorageError
from components.storage.files import atomic_folder, atomic_writer, read_json, write_json


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_writer(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["value.json"]


def test_a_failed_folder_keeps_the_old_folder(tmp_path):
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("new")
        raise RuntimeError
    assert (tmp_path / "model/weights").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    target = tmp_path / "folder"
    target.write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="cannot be written"), atomic_writer(target / "value.json") as stream:
        stream.write("x")


def test_a_broken_json_file_is_named_with_its_line(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1,\n b}')
    with pytest.raises(StorageError, match=r"a\.json:2"):
        read_json(tmp_path / "a.json")


def test_of_two_that_publish_the_same_content_the_first_folder_stays(tmp_path):
    with atomic_folder(tmp_path / "named", keeps_first=True) as mine:
        (mine / "content").write_text("mine")
        with atomic_folder(tmp_path / "named", keeps_first=True) as other:
            (other / "content").write_text("quicker")
        inode = (tmp_path / "named").stat().st_ino
    assert (tmp_path / "named").stat().st_ino == inode and (tmp_path / "named" / "content").read_text() == "quicker"
    assert [path.name for path in tmp_path.iterdir()] == ["named"]
