"""What happens where a model passed the gate and a person decides: the flow `promote_model` is started, an event is sent.

The event `quarkmed.promotion.held` is what the notification in infra/automations.yaml waits for.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

ASKING = "promote_model/promote_model"
HELD = "quarkmed.promotion.held"


def ask_for_promotion(decision: Mapping[str, Any]) -> str:
    """Start the flow that asks a person about a held version, once a decision; return a sentence on what waits where."""
    model, version, run = str(decision["model"]), str(decision["version"]), str(decision["decided_in"])
    with contextlib.suppress(Exception):
        emit_event(HELD, resource={"prefect.resource.id": f"quarkmed.model.{model}", "prefect.resource.name": model}, payload={"version": version, "run": run})
    by_hand = f"{model} version {version} passed the gate and waits for a person: `quarkmed promote {version}`"
    try:
        asked = run_deployment(
            ASKING, parameters={"version": version, "model": model}, flow_run_name=f"{model}-{version}", timeout=0, as_subflow=False,
            idempotency_key=f"{model}-{version}-{run}",
        )  # fmt: skip
    except ObjectNotFound:
        return by_hand
    except Exception as error:  # a page that cannot be written never stops a run
        return f"{by_hand} (the flow {ASKING} could not be started: {str(error)[:200]})"
    return f"{model} version {version} passed the gate and waits for a person: the form of flow run {asked.name} in the Prefect page"
