"""Refuse to make again what was withdrawn: a version whose data hold an id that was entered in the list after its run."""

from pathlib import Path

from components.curation.withdrawn import withdrawn_ids
from components.errors import UserError
from components.layout import WITHDRAWN
from components.provenance.id_index import IdIndex
from components.provenance.kept_lineage import REFERENCE, Lineage
from components.provenance.sightings import lineage_stages, trace_id

SHOWN_IDS = 3


def refuse_withdrawn(root: Path, workspace: Path, lineage: Lineage) -> None:
    """Check that a lineage holds nothing withdrawn since it was made.

    Args:
        workspace: the lineage's own work tree, with the list as it was.
    Raises:
        UserError: it does, or so much of it is gone that this cannot be told.
    """
    present, then = (withdrawn_ids(folder / WITHDRAWN) if (folder / WITHDRAWN).is_file() else frozenset() for folder in (root, workspace))
    held, index = [], IdIndex(root)
    try:
        for identifier in sorted(present - then):
            trace = trace_id(identifier, lineage_stages(lineage.graph, REFERENCE), index)
            if trace.is_found or any("dvc pull" in words for words in trace.cannot_tell):
                held.append(identifier)
    finally:
        index.close()
    if held:
        shown = ", ".join(held[:SHOWN_IDS]) + (f" and {len(held) - SHOWN_IDS} more" if len(held) > SHOWN_IDS else "")
        raise UserError(f"its data hold, or may hold, what was withdrawn since ({shown}): running its stages would make copies of it again")
