"""Restore everything the run cache holds, upstream first, so that what is left is what a run really has to do."""

from collections.abc import Callable

from components.pipeline.workspace import Workspace


def restore_ahead(workspace: Workspace, *, but: frozenset[str], restore: Callable[[str, str], bool]) -> None:
    """Restore every stale stage whose inputs are settled.

    Args:
        but: stages that are to run anew; neither they nor what their outputs lead to are restored.
        restore: of (stage, why it is stale); says whether the run cache held it.
    """
    waiting = set(but)
    for name in workspace.graph.names:
        if name in waiting or waiting & set(workspace.graph.upstream(name)):
            waiting.add(name)
            continue
        reasons = workspace.reasons(name)
        if reasons and not restore(name, "; ".join(reasons)):
            waiting.add(name)
