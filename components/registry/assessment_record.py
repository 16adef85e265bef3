"""Keep an assessment in MLflow: one run a (version, champion, table), with every suite's number, interval and the gate's table.

The same assessment made again finds its run and changes nothing. No alias is touched.
"""

from pathlib import Path

from components.lineage import digest_value
from components.registry.assessment import Assessment
from components.registry.gate_table import gate_markdown
from components.tracking.tracking_store import experiment_id, open_client, sole_writer

TABLE = "gate.md"
KEY = "quarkmed.evaluation_key"


def record_assessment(root: Path, assessed: Assessment) -> str:
    """Write an assessment into MLflow; return the id of its run."""
    with sole_writer(root):
        return _record_once(root, assessed)


def _record_once(root: Path, assessed: Assessment) -> str:
    client = open_client(root)
    experiment = experiment_id(client, root)
    key = digest_value([assessed.model, assessed.version, assessed.champion, assessed.verdict, assessed.metrics])
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
    if found and found[0].info.status == "FINISHED":
        return str(found[0].info.run_id)
    if found:  # a kill left it half written
        client.delete_run(found[0].info.run_id)
    tags = {KEY: key, "quarkmed.evaluated_version": assessed.version, "quarkmed.compared_with": assessed.champion or "base"}
    run_id = str(client.create_run(experiment, run_name=f"evaluate {assessed.model} {assessed.version}", tags=tags).info.run_id)
    from mlflow.entities import Metric

    mine = assessed.metrics[f"version {assessed.version}"]
    points = [Metric(f"{suite}.{name}", float(value), 0, 0) for suite, values in mine.items() for name, value in values.items()]
    client.log_batch(run_id, metrics=points)
    client.log_text(run_id, gate_markdown(assessed.verdict) + "\n", TABLE)
    client.set_terminated(run_id, "FINISHED")
    return run_id
