"""Score a champion of an earlier run on the present test items, so that the gate compares like with like.

Stored results are read where they exist, by (model digest, items digest); only new items are asked.
"""

from pathlib import Path

from components.pipeline.graph import load_graph
from components.pipeline.running import WORK
from components.recorder import Recorder
from components.settings.settings import load_settings
from components.stage import StageContext
from components.storage.artifact_store import ModelReference
from components.storage.checkpoints import CheckpointFolder
from components.storage.store_address import open_store


def score_champion(root: str, reference: dict[str, object]) -> str:
    """Score the referenced model on the present test split and return the Parquet file of its rows."""
    from components.evaluation.evaluate_stage import score_reference
    from components.evaluation.results import write_results

    folder = Path(root)
    settings, row = load_settings(folder / "params.yaml"), load_graph(folder).row("evaluate")
    model = ModelReference.model_validate(reference)
    work = folder / WORK / "champion" / model.digest[:20]
    context = StageContext(
        name="evaluate", root=folder, all_settings=settings, parameters=row.parameters, inputs=row.inputs, outputs=(),
        recorder=Recorder(work), checkpoints=CheckpointFolder(work / "checkpoints", key=model.digest), store=open_store(folder, settings),
    )  # fmt: skip
    rows = score_reference(context, model)
    target = work / "results.parquet"
    write_results(target, [("champion", item) for item in rows])
    return str(target)
