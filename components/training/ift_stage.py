"""Stage `ift`: instruction tuning of base, from easy to hard, with the task-group ratios the mixture search found."""

import json

from components import layout
from components.conversations import Sample
from components.documents import read_models
from components.errors import DataError
from components.stage import StageContext
from components.training.tuned_model import tune_and_publish

SEED_OFFSET = 200


def run(context: StageContext) -> None:
    """Tune and publish `ift`.

    Raises:
        DataError: the ratios file holds no ratios.
    """
    path = context.read(layout.RATIOS)
    ratios = json.loads(path.read_text(encoding="utf-8")).get("ratios")
    if not ratios:
        raise DataError(f'{path}:1: holds no "ratios"; run the stage mixture again')
    tune_and_publish(
        context,
        read_models(context.read(layout.SAMPLES), Sample),
        parent=layout.BASE,
        output=layout.IFT,
        seed_offset=SEED_OFFSET,
        validation=read_models(context.read(layout.VALIDATION_SAMPLES), Sample),
        ratios=ratios,
        level_overlap=context.section("ift").level_overlap,
    )
