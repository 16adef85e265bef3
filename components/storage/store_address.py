"""Open the artifact store that `system.store` names: a folder of the project, or s3://bucket/prefix."""

from pathlib import Path

from components.settings.settings import Settings, load_settings
from components.storage.artifact_store import ArtifactStore

S3 = "s3://"
CACHE = "var/store-cache"  # verified copies of what was read from an object store; may be deleted at any time


def open_store(root: Path, settings: Settings | None = None) -> ArtifactStore:
    """Return the artifact store of the project at `root`; nothing is asked of it yet.

    Args:
        settings: those of the project's params.yaml, read where they are not given.
    """
    settings = settings or load_settings(root / "params.yaml")
    address = settings.system.store
    if not address.startswith(S3):
        return ArtifactStore(root / address)
    from components.storage.bucket import Bucket
    from components.storage.bucket_store import BucketStore

    name, _, prefix = address.removeprefix(S3).partition("/")
    return BucketStore(Bucket(name, prefix, settings.object_store), cache=root / CACHE)
