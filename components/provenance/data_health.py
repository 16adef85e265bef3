"""What may be wrong with stored data: objects DVC's cache lacks, models the store lacks, indexes of ids with other bytes."""

from pathlib import Path

from components.pipeline.dvc_cache import cache_folder, cached_object, read_listing
from components.provenance.id_index import FOLDER, is_sound
from components.provenance.kept_lineage import KeptLineages
from components.storage.store_address import open_store


def missing_objects(root: Path) -> tuple[int, list[str]]:
    """Return how many objects of the present dvc.lock's outputs the cache holds, and a sentence about each it lacks."""
    lineage, cache, held, gone = KeptLineages(root).present(), cache_folder(root), 0, []
    for item in lineage.graph.outputs.values() if lineage else ():
        wanted = {item.path: item.md5}
        folder = cached_object(cache, item.md5)
        if item.md5.endswith(".dir") and folder.is_file():
            wanted |= {f"{item.path}/{name}": md5 for name, md5 in (read_listing(folder.read_bytes(), item.md5) or {}).items()}
        for path, md5 in wanted.items():
            if cached_object(cache, md5).is_file():
                held += 1
            else:
                gone.append(f"{path} ({md5}) is missing")
    return held, gone


def missing_models(root: Path) -> tuple[int, list[str]]:
    """Return how many models of models/*.json the store holds, and a sentence about each it lacks."""
    store = open_store(root)
    present = KeptLineages(root).present()
    models = present.models if present else {}
    lost = [f"{path}: {reference.key} is missing" for path, reference in sorted(models.items()) if not store.has(reference)]
    return len(models) - len(lost), lost


def unsound_indexes(root: Path) -> tuple[int, list[str]]:
    """Return how many data versions are indexed soundly, and a sentence about each index that is damaged."""
    files = sorted((root / FOLDER).glob("*.db"))
    bad = [f"{path.name} is damaged" for path in files if not is_sound(path)]
    return len(files) - len(bad), bad
