"""Withdrawing an id: what it reached, every copy away afterwards (the bytes are looked for), and what is not theirs kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.curation.withdrawn import read_withdrawals
from components.errors import StorageError, UserError
from components.layout import WITHDRAWN
from components.provenance.executions import reached_by
from components.provenance.purge_journal import PurgeJournal
from components.provenance.purging import PURGED, carry_out
from components.provenance.registry_health import dangling_versions
from components.provenance.withdrawal import purgeable, withdraw
from components.provenance.withdrawal_effects import what_is_by_hand
from components.provenance.withdrawal_notes import withdrawal_notes
from components.registry.version_reading import open_registry, registered_versions
from components.storage.artifact_store import ArtifactStore
from components.tracking.run_files import delete_files

ROOT = Path(__file__).parents[2]
WORDS = "words of visit 7"
OF_OTHERS = "words of visit 8"
KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from components.provenance.purge_journal import PurgeJournal
from components.provenance.purging import carry_out
from components.provenance.withdrawal import purgeable, withdraw
root, left = Path(sys.argv[1]), int(sys.argv[2])
found, reached = withdraw(root, "patient-9", why="consent")
journal = PurgeJournal(root)
purge = journal.begin(who="ann", ids=found.ids, saw=found.saw, copies=purgeable(found, with_champion=False, with_ids=True))
def count(copy, was_there):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
carry_out(root, purge, journal, reached=reached, report=count)
"""


def push_all(project):
    """Copy the cache into the remote, as `dvc push` lays it out."""
    shutil.copytree(project.root / "var/dvc-cache/files", project.root / "var/dvc-remote/files", dirs_exist_ok=True)


def purge(project, identifier, *, with_champion=False, with_ids=False):
    found, reached = withdraw(project.root, identifier, why="consent withdrawn", who="ann@lab")
    journal = PurgeJournal(project.root)
    begun = journal.begin(who="ann@lab", ids=found.ids, saw=found.saw, copies=purgeable(found, with_champion=with_champion, with_ids=with_ids))
    carry_out(project.root, begun, journal, reached=reached)
    return found


def files_with(root, words):
    """Return the files below a project's folder, git's own left out, that hold the words."""
    everything = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts)
    return sorted(path.relative_to(root).as_posix() for path in everything if words.encode() in path.read_bytes())


def store(project):
    return {path.read_text() for path in (project.root / "var/store").rglob("model.safetensors")}


def test_no_file_holds_the_record_afterwards_and_nobody_elses_is_lost(two_runs, holders):
    push_all(two_runs)
    assert {name.split("/")[1] for name in files_with(two_runs.root, WORDS)} == {"dvc-cache", "dvc-remote"}
    found = purge(two_runs, "patient-9")
    assert holders(two_runs.root, [WORDS]) == {} != holders(two_runs.root, [OF_OTHERS])
    assert store(two_runs) == {"base 2", "grpo 2"}  # base 1 was trained on it, ift 1 is the same bytes, grpo 1 came of it
    assert dict(found.saw) == {"run 20260101-000000-aaaa (never registered)": {"base": "trained"}}
    assert found.rebuilt[:2] == ("sources", "curate") and "grpo_general" in found.rebuilt
    present = yaml.safe_load((two_runs.root / "dvc.lock").read_text())["stages"]
    kept = {item["md5"] for stage in present.values() for item in (*stage["deps"], *stage["outs"]) if not item["path"].startswith("components/")}
    assert all(two_runs.cached(md5).is_file() for md5 in kept)  # the run without it still stands whole
    listing = json.loads(two_runs.cached(two_runs.md5("artifacts/curate")).read_text())
    assert all(two_runs.cached(item["md5"]).is_file() for item in listing)  # also report.json, which both runs made
    again = withdraw(two_runs.root, "patient-9", why="again")[0]
    assert purgeable(again, with_champion=False, with_ids=False) == [] and again.added == ()


def test_files_without_rows_and_what_a_model_that_saw_it_made_are_reached_and_those_of_the_other_run_are_not(two_runs):
    reached = reached_by(two_runs.root, ["patient-9"])
    second = {(path, two_runs.md5(path)) for path, _ in reached.files}
    assert {path: holds for (path, _), holds in reached.files.items()} == {
        "artifacts/sources/records.jsonl": True, "artifacts/curate/documents.jsonl": True,
        "artifacts/holdout/report.json": False, "artifacts/evaluate/report.jsonl": False,
    }  # fmt: skip
    assert not second & set(reached.files) and reached.unread == []  # curate/report.json is the same in both runs
    assert sorted(map(tuple, reached.models.values())) == [("base", "ift"), ("grpo_general",)]


def test_an_attempt_that_was_overtaken_is_found_in_dvcs_run_cache(two_runs):
    two_runs.write("artifacts/curate/documents.jsonl", [{"id": "merged-1", "source_ids": ["visit-7", "visit-8"], "text": f"{WORDS}, merged"}])
    item = two_runs._item("artifacts/curate")
    sources = two_runs._item("artifacts/sources")
    entry = {"cmd": "quarkmed stage curate", "deps": [sources], "outs": [item]}
    path = two_runs.root / "var/dvc-cache/runs/ab/abcd/ef01"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(entry))
    (path.parent / "torn").write_text("cmd: [")
    two_runs.write("artifacts/curate/documents.jsonl", [])
    purge(two_runs, "visit-7")
    assert files_with(two_runs.root, ", merged") == []


def test_rows_of_the_same_text_go_with_it(two_runs):
    records = [{"id": "visit-1", "record_ids": ["patient-1"], "text": WORDS}, {"id": "visit-2", "record_ids": ["patient-2"], "text": WORDS}, {"id": "visit-3", "text": f"{WORDS}."}]
    two_runs.write("artifacts/sources/records.jsonl", records)
    two_runs.keep("20260103-000000-aaaa")
    found, _ = withdraw(two_runs.root, "patient-1", why="consent withdrawn")
    assert found.ids == ("patient-1", "visit-2") and found.added == found.ids
    assert [(item.id, item.repeats) for item in read_withdrawals(two_runs.root / WITHDRAWN)] == [("patient-1", None), ("visit-2", "patient-1")]


def test_the_champions_bytes_stay_unless_asked_for_and_it_is_said_what_stops(copied, holders):
    found = purge(copied, "visit-8")
    assert any("version 2 (champion) is the champion" in words for words in found.stops)
    assert any(words.startswith("version 1 (previous_champion) can no longer be loaded") for words in found.stops)
    assert store(copied) == {"grpo 2"}
    assert holders(copied.root, [OF_OTHERS]) == {}  # MLflow's database and git's objects are among what is searched
    tags = {record.version: record.tags.get(PURGED) for record in registered_versions(open_registry(copied.root), "quarkmed")}
    assert tags == {"1": "1", "2": None}
    assert not any("version 1: the store" in words for words in dangling_versions(copied.root)[1])
    purge(copied, "visit-8", with_champion=True)
    assert store(copied) == set()


def test_files_of_the_stages_mlflow_runs_go_and_the_numbers_stay(copied):
    client = open_registry(copied.root)
    runs = [run.info.run_id for run in client.search_runs(["1"], "tags.`quarkmed.stage` = 'curate'")]
    for run in runs:
        client.log_text(run, OF_OTHERS, "outputs/table.txt")
    purge(copied, "patient-9")
    left = [run for run in runs if client.list_artifacts(run, "outputs")]
    assert len(runs) == 2 and len(left) == 1  # version 2 was made without it
    delete_files(client, left[0], "outputs")
    assert all(Path(client.download_artifacts(run.info.run_id, "models/grpo_general/model.json")).is_file() for run in client.search_runs(["1"], "tags.`quarkmed.stage` = 'grpo_general'"))


def test_work_folders_go_by_what_they_made_and_unfinished_ones_by_their_stage(two_runs):
    def work(stage, name, outputs):
        folder = two_runs.root / "var/work" / stage / name
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_text(WORDS)
        if outputs is not None:
            (folder / "report.json").write_text(json.dumps({"outputs": outputs}))
        return folder

    clean = {"artifacts/curate": two_runs.md5("artifacts/curate")}
    first = yaml.safe_load(subprocess.run(["git", "show", "refs/quarkmed/runs/20260101-000000-aaaa:dvc.lock"], cwd=two_runs.root, capture_output=True, check=True).stdout)
    dirty = {item["path"]: item["md5"] for item in first["stages"]["curate"]["outs"]}
    gone = [work("curate", "dirty", dirty), work("pretraining", "unfinished", None)]
    stays = [work("curate", "clean", clean), work("sources", "unfinished", None)]  # no kept run has a stage `sources`
    aside = two_runs.root / "artifacts/.curate.part"
    aside.mkdir()
    purge(two_runs, "patient-9")
    assert [path.exists() for path in (*gone, *stays, aside)] == [False, False, True, True, False]


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_purge_killed_halfway_is_gone_on_with(two_runs, after):
    push_all(two_runs)
    killed = subprocess.run([sys.executable, "-c", KILLED_AFTER, str(two_runs.root), str(after)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    journal = PurgeJournal(two_runs.root)
    with journal.path.open("ab") as stream:
        stream.write(b'{"kind": "gon')  # killed in mid-write
    (begun,) = journal.purges()
    assert len(begun.gone) == after < len(begun.copies) and not begun.is_ended
    carry_out(two_runs.root, begun, journal, reached=reached_by(two_runs.root, begun.ids))
    (ended,) = journal.purges()
    assert ended.is_ended and ended.left == [] and files_with(two_runs.root, WORDS) == []
    assert ended.saw == {"run 20260101-000000-aaaa (never registered)": {"base": "trained"}}
    assert any("it had been seen by run 20260101-000000-aaaa" in words for words in withdrawal_notes(two_runs.root, "patient-9"))


def test_an_interrupted_purge_passes_over_what_a_run_has_made_again_without_it(two_runs):
    found, reached = withdraw(two_runs.root, "patient-9", why="consent withdrawn")
    journal = PurgeJournal(two_runs.root)
    begun = journal.begin(who="ann", ids=found.ids, saw=found.saw, copies=found.copies)
    made_again = next(copy for copy in begun.copies if copy.what == "artifacts/holdout/report.json")
    reached.clean.add(made_again.digest)
    carry_out(two_runs.root, begun, journal, reached=reached)
    assert Path(made_again.name).is_file() and files_with(two_runs.root, WORDS) == []


def test_a_remote_that_does_not_answer_is_said_and_stops_the_purge_where_it_must(two_runs):
    push_all(two_runs)
    found, reached = withdraw(two_runs.root, "patient-9", why="consent withdrawn")
    assert any(copy.place == "DVC remote" for copy in found.copies) and found.unread == ()
    config = two_runs.root / ".dvc/config"
    config.write_text(config.read_text().replace("../var/dvc-remote", "gs://no-bucket/x"))  # whose client is not installed
    journal = PurgeJournal(two_runs.root)
    with pytest.raises(StorageError, match="DVC remote local: "):
        carry_out(two_runs.root, journal.begin(who="ann", ids=found.ids, saw=found.saw, copies=found.copies), journal, reached=reached)
    assert any(words.startswith("DVC remote local: ") for words in withdraw(two_runs.root, "patient-9", why="")[0].unread)


def test_the_journal_holds_no_text_and_a_strange_line_is_named(two_runs):
    purge(two_runs, "patient-9")
    journal = PurgeJournal(two_runs.root)
    assert "words of" not in journal.path.read_text() and all(copy.digest or copy.place in ("work", "folder") for copy in journal.purges()[0].copies)
    journal.path.write_text('{"kind": "burnt", "purge": 1}\n')
    with pytest.raises(StorageError, match=r"purges\.jsonl:1: not a line"):
        journal.purges()


def test_other_work_trees_are_purged_as_well(two_runs, tmp_path):
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tmp_path / "tree")], cwd=two_runs.root, check=True)
    tree = tmp_path / "tree"
    old = two_runs.root / "var/dvc-cache"
    shutil.copytree(old, tree / "var/dvc-cache")
    dirty = next(path for path in old.rglob("*") if path.is_file() and f'"text": "{WORDS}' in path.read_text())
    (tree / "artifacts/curate").mkdir(parents=True)
    shutil.copyfile(dirty, tree / "artifacts/curate/documents.jsonl")
    purge(two_runs, "patient-9")
    assert files_with(tree, WORDS) == [] and os.listdir(tree / "artifacts/curate") == []


def test_unknown_ids_and_those_of_made_rows_are_refused(two_runs):
    with pytest.raises(UserError, match="no data version of"):
        withdraw(two_runs.root, "patient-77", why="")
    with pytest.raises(UserError, match=r"case-1: only a document, a patient's record or a query .* artifacts/holdout/train\.jsonl"):
        withdraw(two_runs.root, "case-1", why="")
    assert not (two_runs.root / WITHDRAWN).exists()


def test_a_persons_own_sources_are_left_to_the_person_and_gits_history_too(two_runs):
    assert [words for words in what_is_by_hand(two_runs.root) if "own files" in words or "history" in words] == []
    values = yaml.safe_load((two_runs.root / "params.yaml").read_text())
    values.setdefault("sources", {})["folder"] = "own"
    (two_runs.root / "params.yaml").write_text(yaml.safe_dump(values))
    two_runs.write("own/records.jsonl", [{"id": "visit-7", "record_ids": ["patient-9"], "text": WORDS}])
    assert [("own files" in words, "history" in words) for words in what_is_by_hand(two_runs.root)][1:-1] == [(True, False)]
    subprocess.run(["git", "add", "own"], cwd=two_runs.root, check=True)
    assert any("own is tracked by git, whose history cannot be purged" in words for words in what_is_by_hand(two_runs.root))
    two_runs.stage("sources", reads=["own"], makes=["artifacts/sources"])
    two_runs.keep("20260103-000000-aaaa")
    purge(two_runs, "patient-9")
    assert files_with(two_runs.root, WORDS) == ["own/records.jsonl"]


def test_looking_changes_nothing(two_runs):
    found, _ = withdraw(two_runs.root, "patient-9", why="", marks=False)
    assert found.copies and found.added == () and not (two_runs.root / WITHDRAWN).exists()
    assert ArtifactStore(two_runs.root / "var/store").root.is_dir() and files_with(two_runs.root, WORDS)
