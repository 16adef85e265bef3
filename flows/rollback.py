"""The flow `rollback`: an earlier champion is champion again. On the command line: `quarkmed rollback --why "…"`."""

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from components.registry.rollback import roll_back
from flows.promotion_form import NOT_EMPTY
from tasks.flow_processes import noted_flow_run
from tasks.publish_assessment import publish_sentences

Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=NOT_EMPTY)]


@flow(name="rollback", persist_result=False, retries=0)
def rollback(who: Words, why: Words, version: str = "") -> str:
    """Make an earlier champion the champion again.

    Args:
        who: your name; it is kept in the promotion journal.
        why: your reason; it is kept in the promotion journal and on the model card.
        version: a version that was champion once; empty: the one before the present champion.
    """
    root = Path.cwd()
    with noted_flow_run(root):
        settled = roll_back(root, who=who, why=why, to=version)
        publish_sentences("rollback", f"{settled['model']} version {settled['version']} is champion again", [*settled["reasons"], *settled["said"]])
    return f"version {settled['version']}"
