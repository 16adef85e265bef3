"""Stage `sft`: tuning on the chosen answers, to its validation optimum: the weights of the best look are kept."""

from components import layout
from components.conversations import Sample
from components.documents import read_models
from components.stage import StageContext
from components.training.tuned_model import tune_and_publish

SEED_OFFSET = 300


def run(context: StageContext) -> None:
    """Tune and publish `sft`."""
    tune_and_publish(
        context,
        read_models(context.read(layout.ANSWERS), Sample),
        parent=layout.IFT,
        output=layout.SFT,
        seed_offset=SEED_OFFSET,
        validation=read_models(context.read(layout.ANSWERS_VALIDATION), Sample),
    )
