"""The flow `evaluate_model`: score a registered version against the champion on the held-out cases; no alias changes.

The table goes to the Prefect page and to MLflow. On the command line: `quarkmed evaluate 3`.
"""

from pathlib import Path

from prefect import flow

from components.registry.assessment import assess_version
from components.registry.assessment_record import record_assessment
from tasks.flow_processes import noted_flow_run
from tasks.publish_assessment import publish_assessment


@flow(name="evaluate_model", flow_run_name="evaluate {version}", persist_result=False, retries=0)
def evaluate_model(version: str = "@challenger", model: str = "") -> str:
    """Score a version on the present test items and show the gate's table.

    Args:
        version: a version's number, an alias (@champion, @challenger) or models:/name/number.
        model: name in the registry; empty: `system.model_name`.
    """
    root = Path.cwd()
    with noted_flow_run(root):
        assessed = assess_version(root, version, model=model)
        publish_assessment(assessed)
        record_assessment(root, assessed)
    if assessed.verdict is None:
        return f"version {assessed.version} is the champion's bytes"
    return f"version {assessed.version} {'passes' if assessed.verdict['is_passed'] else 'does not pass'} the gate"
