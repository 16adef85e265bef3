"""The search by which tests show that no file holds a withdrawn record's sentences: it finds them wherever they stand plainly."""

import gzip
import json
import sqlite3
import subprocess
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

SENTENCE = 'He said "no" to Åse & left at <noon>.'
STARTS = range(0, 5000, 30)  # so that some page of a row ends within the sentence


def test_a_sentence_is_found_in_every_kind_of_file_and_no_other_file_is_named(tmp_path, holders):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "plain.txt").write_text(f"… {SENTENCE} …")
    (tmp_path / "escaped.json").write_text(json.dumps({"text": SENTENCE}))
    (tmp_path / "deep/er/rows.jsonl").write_text(json.dumps({"text": SENTENCE}, ensure_ascii=False))
    (tmp_path / "page.html").write_text("He said &quot;no&quot; to Åse &amp; left at &lt;noon&gt;.")
    with gzip.open(tmp_path / "log.gz", "wt") as stream:
        stream.write(SENTENCE)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", SENTENCE)
    pq.write_table(pa.table({"number": [1, 2], "answer": ["", SENTENCE]}), tmp_path / "results.parquet")
    (tmp_path / "other.txt").write_text("He said nothing.")
    assert set(holders(tmp_path, [SENTENCE, "nowhere"])) == {
        "plain.txt", "escaped.json", "deep/er/rows.jsonl", "page.html", "log.gz", "all.zip", "results.parquet",
    }  # fmt: skip


def test_a_text_that_a_databases_pages_cut_is_found_whole(tmp_path, holders):
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE tags (key TEXT, value TEXT)")
    for before in STARTS:
        connection.execute("INSERT INTO tags VALUES ('a', ?)", ("x" * before + SENTENCE + "x" * (9000 - before),))
    connection.commit()
    connection.close()
    assert path.read_bytes().count(SENTENCE.encode()) < len(STARTS)
    assert holders(tmp_path, [SENTENCE]) == {"runs.db": {SENTENCE}}


def test_what_git_keeps_is_searched_though_it_is_packed(tmp_path, holders):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "notes.txt").write_text(SENTENCE)
    subprocess.run([*git, "add", "-A"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "notes"], cwd=tmp_path, check=True)
    (tmp_path / "notes.txt").unlink()
    assert holders(tmp_path, [SENTENCE]) == {".git": {SENTENCE}}
