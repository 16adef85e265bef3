"""The flow `reconcile`: finish or abort what kills left open, and say each thing done. On the command line: `quarkmed reconcile`."""

from pathlib import Path

from prefect import flow

from flows.reconciling import reconcile_all
from tasks.flow_processes import noted_flow_run
from tasks.publish_assessment import publish_sentences


@flow(name="reconcile", persist_result=False, retries=0)
def reconcile(elsewhere: bool = False) -> str:
    """Finish or abort open promotions, set aliases right, close runs whose process is gone.

    Args:
        elsewhere: count runs of other hosts as dead, which is right where nothing works on another machine.
    """
    root = Path.cwd()
    with noted_flow_run(root):
        said = reconcile_all(root, elsewhere=elsewhere)
        publish_sentences("reconcile", "what was reconciled", said)
    return f"{len(said)} things done or said" if said else "nothing was open"
