"""Stage `instructions`: training cases → samples over the four ability dimensions, in curriculum order.

Decontamination is done again here, against validation and test, although `holdout` did it: whatever else makes cases
one day passes this gate too. Counts are reported by reason.
"""

from collections import Counter

from components import layout
from components.cases.case import Case
from components.cases.decontamination import HeldOut, common_grams, question_of, words_of
from components.conversations import Sample
from components.documents import read_models, write_jsonl
from components.errors import DataError
from components.instructions.curriculum import curriculum_order
from components.instructions.sampling import sample_of, select_cases
from components.settings.training import InstructionsSettings
from components.stage import StageContext
from components.storage.files import write_json


def run(context: StageContext) -> None:
    """Write the samples, the validation samples and the report."""
    settings: InstructionsSettings = context.section("instructions")
    train = read_models(context.read(layout.TRAIN_CASES), Case)
    validation = read_models(context.read(layout.VALIDATION_CASES), Case)
    test = read_models(context.read(layout.TEST_CASES), Case)
    context.recorder.progress(1, 3)
    held_out = [*validation, *test]
    kept, refused = decontaminate(train, HeldOut(held_out, common=common_grams(held_out)))
    context.recorder.progress(2, 3)
    chosen = select_cases(kept, samples_per_task=settings.samples_per_task, seed=context.seed)
    if not chosen:
        raise DataError(f"{context.read(layout.TRAIN_CASES)}: no case to teach is left; run `holdout` with more diseases")
    samples = curriculum_order(map(sample_of, chosen), seed=context.seed)
    validation_samples = [
        sample_of(case) for case in select_cases(validation, samples_per_task=settings.samples_per_task, seed=context.seed)
    ]
    write_jsonl(context.write(layout.SAMPLES), samples)
    write_jsonl(context.write(layout.VALIDATION_SAMPLES), validation_samples)
    report = {
        "samples": len(samples),
        "validation_samples": len(validation_samples),
        "tasks": len({sample.task for sample in samples}),
        "by_group": _counts(samples, "group"),
        "by_level": _counts(samples, "level"),
        "by_task": _counts(samples, "task"),
        "refused": dict(sorted(refused.items())),
    }
    write_json(context.write(layout.INSTRUCTIONS_REPORT), report)
    context.recorder.table("instructions", [{"group": group, "samples": count} for group, count in report["by_group"].items()])
    context.recorder.progress(3, 3)
    context.recorder.summary({"samples": len(samples), "tasks": report["tasks"], "refused": sum(refused.values())})


def decontaminate(cases: list[Case], held_out: HeldOut) -> tuple[list[Case], Counter[str]]:
    """Return the cases that touch no held-out one and repeat no other's question, and how many were refused, by reason."""
    kept: list[Case] = []
    refused: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    for case in cases:
        text = (case.task, " ".join(words_of(question_of(case))), " ".join(passage.document_id for passage in case.passages))
        reason = held_out.overlap(case) or ("repeated" if text in seen else None)
        seen.add(text)
        if reason:
            refused[reason] += 1
        else:
            kept.append(case)
    return kept, refused


def _counts(samples: list[Sample], field: str) -> dict[str, int]:
    return {str(key): count for key, count in sorted(Counter(getattr(sample, field) for sample in samples).items())}
