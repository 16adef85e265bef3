"""One MLflow database for all tests of tracking: making one takes seconds."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose MLflow several tests fill; each uses names of its own."""
    return tmp_path_factory.mktemp("tracking")
