"""Where MLflow's page shows a run."""

from pathlib import Path

from components.tracking.replay import start_run
from components.tracking.tracking_store import experiment_id, open_client


def run_page(root: str, run: str) -> dict[str, str]:
    """Return {"experiment", "run"}: MLflow's ids of a `retrain`, which is opened there where it was not yet."""
    found = start_run(root, run, tags={})
    return {"experiment": experiment_id(open_client(Path(root)), Path(root)), "run": found}
