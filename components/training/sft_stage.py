"""Stage `sft`: tuning on the chosen answers, to its validation optimum: the weights of the best look are kept.

The optimum is that of the quality of answers to validation queries, grounded and general (`answer_quality.py`).
"""

from components import layout
from components.cases.case import Case
from components.conversations import Sample
from components.documents import read_models
from components.stage import StageContext
from components.training.answer_quality import answer_quality, chosen_cases
from components.training.tuned_model import tune_and_publish

SEED_OFFSET = 300
SUITES = ("grounded", "preference")


def run(context: StageContext) -> None:
    """Tune and publish `sft`."""
    from components.knowledge_base.loading import load_knowledge_base
    from components.modeling.tokenizers import load_tokenizer
    from components.rewards.oracle import Oracle

    cases = chosen_cases(
        read_models(context.read(layout.VALIDATION_CASES), Case), suites=SUITES, count=context.section("sft").measured_cases
    )
    oracle = Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    tune_and_publish(
        context,
        read_models(context.read(layout.ANSWERS), Sample),
        parent=layout.IFT,
        output=layout.SFT,
        seed_offset=SEED_OFFSET,
        validation=read_models(context.read(layout.ANSWERS_VALIDATION), Sample),
        measure=answer_quality(cases, load_tokenizer(context.fetch_model(layout.IFT)), oracle),
    )
