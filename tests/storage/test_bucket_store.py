"""The artifact store in a real object store (rclone's), with the faults of networks and servers between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import SettingsError, StorageError
from components.lineage import digest_folder
from components.settings.object_store import ObjectStoreSettings
from components.settings.settings import load_settings
from components.storage.artifact_store import ArtifactStore
from components.storage.bucket import Bucket
from components.storage.bucket_store import BucketStore
from components.storage.store_address import open_store

ROOT = Path(__file__).parents[2]
SETTINGS = ObjectStoreSettings(part_mib=5, attempts=3, connect_seconds=2, read_seconds=5)
LARGE = 12 * (1 << 20) + 7  # three parts of 5 MiB


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    (folder / "tokenizer" / "merges.txt").write_text("a b")
    (folder / "model.safetensors").write_bytes(os.urandom(200_000))
    return folder


@pytest.fixture
def bucket_name(s3_server, proxy, monkeypatch):
    for name, value in s3_server.environment(address=proxy.address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return s3_server.bucket()


@pytest.fixture
def store(bucket_name, tmp_path):
    return BucketStore(Bucket(bucket_name, "team", SETTINGS), cache=tmp_path / "cache")


@pytest.fixture
def elsewhere(bucket_name, tmp_path):
    """The same store as another machine sees it: nothing cached."""
    return BucketStore(Bucket(bucket_name, "team/", SETTINGS), cache=tmp_path / "elsewhere")


def test_another_machine_reads_the_bytes_that_were_published(store, elsewhere, model, tmp_path):
    reference = store.publish(model, parent="abc")
    assert reference == ArtifactStore(tmp_path / "folder").publish(model, parent="abc")  # wherever it is kept, it is named alike
    assert elsewhere.has(reference)
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest == digest_folder(model)
    assert elsewhere.uri(reference) == f"s3://{store.bucket.name}/team/models/{reference.digest[:32]}"


def test_publishing_again_sends_nothing_and_a_second_read_asks_nothing(store, elsewhere, model, proxy):
    reference = store.publish(model)
    proxy.seen.clear()
    assert elsewhere.publish(model) == reference
    assert proxy.count("PUT") == proxy.count("POST") == 0
    proxy.seen.clear()
    assert elsewhere.fetch(reference) == store.root.parent / "elsewhere" / reference.key
    assert proxy.seen == []


def overwrite(store, key, change):
    """Let the server hold other bytes under a key, with the same size and noted digest."""
    kept = store.bucket._client.get_object(Bucket=store.bucket.name, Key=f"team/{key}")
    content = kept["Body"].read()
    store.bucket._client.put_object(Bucket=store.bucket.name, Key=f"team/{key}", Body=change(content), Metadata=kept["Metadata"])


def test_a_damaged_object_is_refused_with_what_to_delete(store, elsewhere, model):
    reference = store.publish(model)
    overwrite(store, f"{reference.key}/model.safetensors", lambda content: bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(StorageError, match=rf"s3://.*/model\.safetensors: .*damaged\); delete s3://.*{reference.key}\.json and what is below .*make retrain"):
        elsewhere.fetch(reference)
    assert not (elsewhere.root / reference.key).exists()


def test_a_list_of_other_files_is_refused(store, elsewhere, model):
    reference = store.publish(model)
    overwrite(store, f"{reference.key}.json", lambda content: content.replace(b'"config.json"', b'"Config.json"'))
    with pytest.raises(StorageError, match=r"list of files is not that of the model \(damaged\)"):
        elsewhere.fetch(reference)


def test_a_damaged_cache_is_read_anew(store, model):
    reference = store.publish(model)
    (store.root / reference.key / "config.json").write_text("[]")
    assert (store.fetch(reference) / "config.json").read_text() == "{}"


def test_a_damaged_cache_is_never_sent(store, elsewhere, model):
    reference = ArtifactStore(store.root).publish(model)
    (store.root / reference.key / "config.json").write_text("[]")
    store.publish(model)
    assert (elsewhere.fetch(reference) / "config.json").read_text() == "{}"


def test_a_missing_model_is_named(store, model, tmp_path):
    reference = ArtifactStore(tmp_path / "folder").publish(model)
    with pytest.raises(StorageError, match=rf"s3://.*{reference.key}: the store has no such model"):
        store.fetch(reference)


def test_a_removed_model_is_gone_from_bucket_and_cache(store, model):
    reference = store.publish(model)
    assert len(store.bucket.keys("")) == 5
    assert store.remove(reference) and not store.has(reference)
    assert not (store.root / reference.key).exists()
    assert store.bucket.keys("") == [] and not store.remove(reference)


def test_a_large_file_goes_in_parts_and_comes_back(store, elsewhere, tmp_path, proxy):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(LARGE))
    reference = store.publish(folder)
    assert proxy.count("PUT", "partNumber=") == 3
    assert digest_folder(elsewhere.fetch(reference)) == digest_folder(folder)


def test_an_upload_that_fails_is_never_seen_and_is_taken_up(store, elsewhere, model, proxy):
    reference = ArtifactStore(store.root.parent / "folder").publish(model)
    proxy.fail_times("drop", 99, method="PUT", part="model.safetensors")
    with pytest.raises(StorageError, match="does not answer"):
        store.publish(model)
    assert not elsewhere.has(reference)
    with pytest.raises(StorageError, match="no such model"):
        elsewhere.fetch(reference)
    proxy.fault = lambda method, path: None
    proxy.seen.clear()
    assert store.publish(model) == reference
    assert proxy.count("PUT", "config.json") == 0 and proxy.count("PUT", "model.safetensors") == 1  # what stood was left alone
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest


KILLED = """
import sys
from pathlib import Path
from components.settings.object_store import ObjectStoreSettings
from components.storage.bucket import Bucket
from components.storage.bucket_store import BucketStore
store = BucketStore(Bucket(sys.argv[1], "team", ObjectStoreSettings(part_mib=5, connections=1)), cache=Path(sys.argv[2]))
store.publish(Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_publisher_killed_between_parts_leaves_nothing_to_be_seen(store, elsewhere, tmp_path, proxy):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(LARGE))
    reference = ArtifactStore(tmp_path / "folder").publish(folder)
    proxy.fault, proxy.slow_seconds = lambda method, path: "slow" if "partNumber=2" in path else None, 30.0
    publisher = subprocess.Popen([sys.executable, "-c", KILLED, store.bucket.name, str(store.root), str(folder)], cwd=ROOT)
    deadline = time.monotonic() + 30
    while not proxy.count("PUT", "partNumber=2") and time.monotonic() < deadline:
        time.sleep(0.02)
    publisher.send_signal(signal.SIGKILL)
    publisher.wait(10)
    assert proxy.count("PUT", "partNumber=2") == 1
    proxy.fault = lambda method, path: None
    assert not elsewhere.has(reference)
    assert store.publish(folder) == reference
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest


@pytest.mark.parametrize("fault", ["drop", "busy", "truncate", "shorten", "corrupt", "slow"])
def test_a_read_survives(store, elsewhere, model, proxy, fault):
    reference = store.publish(model)
    proxy.seen.clear()
    times = {"slow": 0, "truncate": 2, "shorten": 2}.get(fault, 1)  # two cuts: reading all anew once would not do
    proxy.fail_times(fault, max(times, 1), part="model.safetensors")
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest
    assert proxy.count("GET", "model.safetensors") == 1 + times


@pytest.mark.parametrize("fault", ["drop", "busy", "slow"])
def test_a_write_survives(store, elsewhere, model, proxy, fault):
    proxy.fail_times(fault, 1, method="PUT", part="model.safetensors")
    reference = store.publish(model)
    assert proxy.count("PUT", "model.safetensors") == (1 if fault == "slow" else 2)
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest


@pytest.mark.slow
def test_a_read_goes_on_where_it_broke_off(store, elsewhere, tmp_path, proxy):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(LARGE))
    reference = store.publish(folder)
    proxy.fail_times("truncate", 5, part="model.safetensors")  # each answer brings half of what is left, so it always gets on
    assert digest_folder(elsewhere.fetch(reference)) == reference.digest


@pytest.mark.slow
def test_answers_that_never_come_end_with_one_message_after_the_attempts(store, elsewhere, model, proxy):
    reference = store.publish(model)
    proxy.fail_times("drop", 10**6, part="model.safetensors")
    proxy.seen.clear()
    with pytest.raises(StorageError, match=r"does not answer .*AWS_ENDPOINT_URL_S3"):
        elsewhere.fetch(reference)
    assert proxy.count("GET", "model.safetensors") == SETTINGS.attempts


def test_a_server_that_honours_conditions_is_noticed_and_keeps_what_was_there_first(store, proxy):
    assert not store.bucket.refuses_overwriting  # rclone takes the header and overwrites all the same
    assert store.bucket.put_once("a", b"first") and not store.bucket.put_once("a", b"second")
    proxy.is_conditional = True
    other = Bucket(store.bucket.name, "team", SETTINGS)
    assert other.refuses_overwriting
    assert other.put_once("b", b"first") and not other.put_once("b", b"second")
    assert (other.read("a"), other.read("b"), other.read("c")) == (b"first", b"first", None)
    assert store.bucket.keys(".probe") == []


def test_two_readers_at_once_read_the_bucket_once(store, elsewhere, model, proxy):
    reference = store.publish(model)
    proxy.seen.clear()
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(elsewhere.fetch, [reference, reference]))
    assert folders[0] == folders[1] and proxy.count("GET", "model.safetensors") == 1


def test_wrong_keys_are_refused_in_words_that_hold_no_secret(store, model, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match=r"refuses the credentials.*AWS_SECRET_ACCESS_KEY") as refused:
        store.publish(model)
    assert s3_server.key not in str(refused.value) and "not-the-secret" not in str(refused.value)


def test_absent_keys_and_buckets_are_said(store, elsewhere, model, monkeypatch, tmp_path):
    with pytest.raises(StorageError, match=r"s3://no-such-bucket: there is no such bucket; make it, or mend system\.store"):
        BucketStore(Bucket("no-such-bucket", "", SETTINGS), cache=tmp_path / "x").publish(model)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match=r"no credentials for the object store.*AWS_PROFILE"):
        elsewhere.publish(model)


def test_a_server_that_is_not_there_is_said(store, model, monkeypatch, free_port):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    gone = BucketStore(Bucket(store.bucket.name, "", ObjectStoreSettings(attempts=1)), cache=store.root)
    with pytest.raises(StorageError, match="does not answer"):
        gone.publish(model)


def test_a_probe_writes_reads_and_deletes(store, tmp_path, proxy):
    assert "written, read and deleted; conditional writes not honoured" in store.probe()
    assert proxy.count("PUT") == 3 and proxy.count("DELETE") == 2 and store.bucket.keys("") == []
    folder = ArtifactStore(tmp_path / "folder")
    assert "nothing stored yet" in folder.probe()
    folder.root.mkdir()
    assert "written, read and deleted" in folder.probe() and list(folder.root.iterdir()) == []


def test_settings_open_the_store_they_name(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    assert open_store(tmp_path).root == tmp_path / "var/store"
    opened = open_store(tmp_path, load_settings(ROOT / "params.yaml", overrides={"system.store": "s3://models/team/a"}))
    assert isinstance(opened, BucketStore) and opened.bucket.address == "s3://models/team/a" and opened.root == tmp_path / "var/store-cache"
    for address in ("gs://models", "s3://", "s3://Models/x", "file:///x"):
        with pytest.raises(SettingsError, match=r"system\.store: .*folder, or an object store as s3://bucket/prefix"):
            load_settings(ROOT / "params.yaml", overrides={"system.store": address})
