"""Stage `cold_start`: two epochs on formatted reasoning samples, `<think>reasoning</think>answer`, from sft.

Departure: the report starts from its base model; at this size the format is learnt on top of sft, so that what sft
taught is kept. Samples come from the training cases that are answered with reasoning from here on, verified tasks and
examination questions: their reference reasoning and their full-mark answer. A share of the samples of sft is replayed
beside them, so that other prompts keep being answered without reasoning; which ones is written down by their ids.
"""

from collections.abc import Sequence

from components import layout
from components.cases.case import Case
from components.cases.registry import TASKS
from components.conversations import Message, Sample
from components.documents import read_models, write_jsonl
from components.errors import DataError
from components.lineage import stable_fraction
from components.settings.training import ColdStartSettings
from components.stage import StageContext
from components.training.supervised.replay import draw_replay
from components.training.tuned_model import tune_and_publish
from components.turns import in_turns

SEED_OFFSET = 400
REASONED_SUITES = ("verified", "exam")  # answered with reasoning from here on, so not replayed as they were
EPOCHS = 2


def run(context: StageContext) -> None:
    """Write the samples and the ids of those replayed, tune and publish `cold_start`.

    Raises:
        DataError: the training cases hold no case with reasoning.
    """
    settings: ColdStartSettings = context.section("cold_start")
    path = context.read(layout.TRAIN_CASES)
    count = round(settings.steps * settings.batch_samples / EPOCHS * (1.0 - settings.replay_share))
    samples = reasoning_samples(read_models(path, Case), count=count, seed=context.seed)
    if not samples:
        raise DataError(f"{path}: no verified or examination case carries reference.reasoning; run the stage holdout again")
    write_jsonl(context.write(layout.COLD_START_SAMPLES), samples)
    earlier = [sample for sample in read_models(context.read(layout.ANSWERS), Sample) if _suite(sample) not in REASONED_SUITES]
    replay = draw_replay(earlier, others=len(samples), share=settings.replay_share, seed=context.seed, kinds=_suite)
    write_jsonl(context.write(layout.REPLAYED), ({"id": sample.id} for sample in replay))
    tune_and_publish(context, [*samples, *replay], parent=layout.SFT, output=layout.COLD_START, seed_offset=SEED_OFFSET)


def reasoning_samples(cases: Sequence[Case], *, count: int, seed: int) -> list[Sample]:
    """Return up to `count` samples in a fixed random order; each verified task and the examination as one take turns."""
    reasoned = [case for case in cases if case.suite in REASONED_SUITES and case.reference.get("reasoning")]
    shuffled = sorted(reasoned, key=lambda case: stable_fraction("cold_start", str(seed), case.id))
    turns = in_turns(shuffled, lambda case: case.task if case.suite == "verified" else case.suite, lambda case: case.task)
    return [_sample(case) for case in turns[:count]]


def _suite(sample: Sample) -> str:
    return TASKS[sample.task].suite


def _sample(case: Case) -> Sample:
    answer = f"<think>{case.reference['reasoning']}</think>{case.answer}"
    return Sample(
        id=f"cold_start:{case.id}", task=case.task, group=case.group, level=case.level, case_id=case.id,
        messages=(*case.messages, Message(role="assistant", content=answer)),
        source_ids=case.source_ids, record_ids=case.record_ids,
    )  # fmt: skip
