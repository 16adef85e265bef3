"""What may be wrong in the registry: sources and bytes that are gone, an open promotion, an alias the journal denies."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from components.provenance.explanation import journal_entries
from components.registry.promotion import CHAMPION
from components.registry.version_models import reference_of
from components.registry.version_reading import open_registry, registered_versions
from components.registry.versions import PURGED
from components.settings.settings import load_settings
from components.storage.store_address import open_store
from components.tracking.tracking_store import experiment_id


def dangling_versions(root: Path) -> tuple[int, list[str]]:
    """Return how many versions there are, and a sentence about each whose source folder or model is gone."""
    settings = load_settings(root / "params.yaml").system
    store, said = open_store(root), []
    records = registered_versions(open_registry(root), settings.model_name)
    for record in records:
        address = urlparse(record.source)
        if address.scheme in ("", "file") and not (Path(unquote(address.path)) / "model.json").is_file():
            said.append(f"version {record.version}: its source {record.source} is gone")
        digest = record.tags.get("quarkmed.model_digest", "")
        if digest and PURGED not in record.tags and not store.has(reference_of(digest)):
            said.append(f"version {record.version}: the store has no {reference_of(digest).key}")
    return len(records), said


def unended_runs(root: Path) -> list[str]:
    """Return the ids of the `retrain` runs that MLflow has as running, newest first."""
    client = open_registry(root)
    found = client.search_runs([experiment_id(client, root)], "attributes.status = 'RUNNING'", max_results=1000)
    return [run.data.tags["quarkmed.run"] for run in found if "quarkmed.run" in run.data.tags]


def open_promotion(root: Path) -> str | None:
    """Return a sentence about the promotion that was prepared and never ended, or None."""
    entries = journal_entries(root, load_settings(root / "params.yaml").system.model_name)
    closed = {entry.closes for entry in entries}
    pending = next((entry for entry in entries if entry.kind == "PREPARED" and entry.sequence not in closed), None)
    return None if pending is None else f"promotion {pending.sequence} of version {pending.version} by {pending.who} is PREPARED and not ended"


def alias_disagreement(root: Path) -> str | None:
    """Return a sentence where the alias `champion` does not name the journal's champion, or None."""
    model = load_settings(root / "params.yaml").system.model_name
    committed = [entry.version for entry in journal_entries(root, model) if entry.kind == "COMMITTED"]
    expected = committed[-1] if committed else None
    named = next((record.version for record in registered_versions(open_registry(root), model) if CHAMPION in record.aliases), None)
    return None if named == expected else f"the alias {CHAMPION} names version {named or 'none'}, the journal says {expected or 'none'}"
