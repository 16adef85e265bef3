"""What `quarkmed doctor` finds in stored data."""

import hashlib
import shutil

from components.provenance.data_health import missing_models, missing_objects, unsound_indexes
from components.provenance.id_index import FOLDER, IdIndex

PATH = "artifacts/curate/documents.jsonl"


def test_missing_objects_models_and_damaged_indexes_are_named(plain):
    assert missing_objects(plain.root)[1] == missing_models(plain.root)[1] == unsound_indexes(plain.root)[1] == []
    md5 = hashlib.md5((plain.root / PATH).read_bytes()).hexdigest()
    IdIndex(plain.root).find(PATH, md5, ["book-1"])
    assert unsound_indexes(plain.root) == (1, [])
    next((plain.root / FOLDER).glob("*.db")).write_bytes(b"broken")
    plain.cached(md5).unlink()
    shutil.rmtree(plain.root / "var/store/models")
    assert missing_objects(plain.root)[1] == [f"{PATH} ({md5}) is missing"]
    assert len(missing_models(plain.root)[1]) == 3 and len(unsound_indexes(plain.root)[1]) == 1
