"""The index of ids: equal for equal data, made again where missing or damaged, never trusted unread."""

import contextlib
import hashlib
import json
import shutil
import sqlite3

import pytest

from components.errors import StorageError
from components.pipeline.dvc_cache import cache_folder
from components.provenance.id_index import FOLDER, IdIndex, build_index, is_sound
from components.provenance.row_ids import Link

PATH = "artifacts/curate/documents.jsonl"


def content_digest(target):
    """Return the digest of an index's links in order, whatever SQLite's version wrote the file."""
    digest = hashlib.sha256()
    with contextlib.closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        for row in connection.execute("SELECT id, kind, own FROM links ORDER BY id, kind, own"):
            digest.update("\x1f".join(row).encode() + b"\n")
    return digest.hexdigest()


def index_files(project):
    return sorted((project.root / FOLDER).glob("*.db"))


def ask(project, identifier):
    index = IdIndex(project.root)
    found = index.find(PATH, project.md5(PATH), [identifier])
    index.close()
    return index, found


def test_an_id_is_found_as_source_and_as_record(plain):
    index, found = ask(plain, "book-2")
    assert found == [Link("book-2", "source", "book-1")] and index.made == [PATH]
    assert ask(plain, "patient-8")[1] == [Link("patient-8", "record", "visit-8")]
    assert ask(plain, "patient-9")[1] == []  # withdrawn before this version


def test_equal_data_make_equal_files_and_what_is_there_is_not_made_again(plain, tmp_path):
    ask(plain, "book-1")
    (first,) = index_files(plain)
    assert ask(plain, "book-1")[0].made == []
    again = tmp_path / "again.db"
    assert build_index(again, plain.root / PATH, path=PATH) == 2
    assert again.read_bytes() == first.read_bytes() and content_digest(again) == content_digest(first)


def test_the_order_of_rows_does_not_change_the_index(plain, tmp_path):
    lines = (plain.root / PATH).read_text().splitlines()
    turned = tmp_path / "turned.jsonl"
    turned.write_text("\n".join(reversed(lines)) + "\n")
    build_index(tmp_path / "a.db", plain.root / PATH, path=PATH)
    build_index(tmp_path / "b.db", turned, path=PATH)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()


@pytest.mark.parametrize("damage", ["one byte", "cut short", "no seal", "other format"])
def test_a_damaged_index_is_made_again_and_said(plain, damage):
    ask(plain, "book-1")
    (file,) = index_files(plain)
    content, seal = bytearray(file.read_bytes()), file.with_suffix(".json")
    if damage == "one byte":
        place = content.index(b"book-2")
        content[place : place + 6] = b"book-X"
        file.write_bytes(content)
    elif damage == "cut short":
        file.write_bytes(content[:-512])
    elif damage == "no seal":
        seal.unlink()
    else:
        seal.write_text(json.dumps({**json.loads(seal.read_text()), "format": 0}))
    assert not is_sound(file)
    index, found = ask(plain, "book-2")
    assert found == [Link("book-2", "source", "book-1")] and index.mended == [PATH]
    assert is_sound(file)


def test_the_index_outlives_dvcs_cache(plain):
    md5 = plain.md5("artifacts/curate")
    first = IdIndex(plain.root)
    listing = first.files("artifacts/curate", md5)
    first.find(PATH, listing[PATH], ["book-1"])
    shutil.rmtree(plain.root / "var/dvc-cache")
    shutil.rmtree(plain.root / "artifacts")
    later = IdIndex(plain.root)
    assert later.files("artifacts/curate", md5) == listing
    assert later.find(PATH, listing[PATH], ["book-2"]) == [Link("book-2", "source", "book-1")]


def test_what_is_neither_cached_nor_indexed_is_an_error_that_says_what_to_do(plain):
    md5 = plain.md5(PATH)
    plain.cached(md5).unlink()
    (plain.root / PATH).write_text("{}\n")
    with pytest.raises(StorageError, match=f"{md5} is neither in DVC's cache nor indexed; run `dvc pull`"):
        IdIndex(plain.root).find(PATH, md5, ["book-1"])


def test_a_cached_object_with_other_bytes_is_not_indexed(plain):
    md5 = plain.md5(PATH)
    plain.cached(md5).write_text('{"id": "forged"}\n')
    assert ask_version(plain, md5, "forged") == []  # read from the project's folder, whose bytes are right


def ask_version(project, md5, identifier):
    return IdIndex(project.root).find(PATH, md5, [identifier])


def test_a_listing_with_other_bytes_is_not_believed(plain):
    md5 = plain.md5("artifacts/curate")
    plain.cached(md5).write_text("[]")
    assert IdIndex(plain.root).files("artifacts/curate", md5) is None


def test_the_cache_is_where_dvcs_settings_say(plain):
    assert cache_folder(plain.root) == plain.root / "var/dvc-cache"
    (plain.root / ".dvc/config.local").write_text("[cache]\n    dir = /elsewhere/cache\n")
    assert str(cache_folder(plain.root)) == "/elsewhere/cache"
    for name in ("config", "config.local"):
        (plain.root / ".dvc" / name).unlink()
    assert cache_folder(plain.root) == plain.root / ".dvc/cache"
