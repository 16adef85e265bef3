"""Stage `holdout`: makes every case of every suite, and splits them before any sample is made.

Split: by combination of facts (all tasks agree), and part of the held-out cases through held-out templates. Held-out
questions that the corpus contains are not made, nor training questions that touch a held-out one; a last check refuses
to publish a leak. Patient records' own combinations are reserved for training. Which documents kept a question out is
written down by their ids.
"""

from collections import Counter
from collections.abc import Iterable

from components import layout
from components.cases.case import Case, Split
from components.cases.decontamination import HeldOut, check_no_leak, common_grams, corpus_grams, is_in_corpus
from components.cases.generating import Splitting, by_suite, draw_held_out, draw_train
from components.cases.kept_out import kept_by_records, kept_by_words
from components.cases.passages import PASSAGE_TYPES, find_passages
from components.cases.registry import TASKS, tasks_of
from components.cases.reserving import reserved_combinations
from components.cases.world import World
from components.documents import Document, read_jsonl, read_models, write_jsonl
from components.errors import DataError
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.subset import select_diseases
from components.settings.data import HoldoutSettings
from components.stage import StageContext
from components.storage.files import write_json

REPORT = f"{layout.CASES}/report.json"


def run(context: StageContext) -> None:
    """Make and split the cases."""
    documents = read_models(context.read(layout.DOCUMENTS), Document)
    world = _world(context, documents)
    corpus = corpus_grams(document.text for document in documents)
    reserved = reserved_combinations((document for document in documents if document.type not in PASSAGE_TYPES), world)
    splitting = _splitting(context, reserved)
    held_out, refused = _draw_held_out(context, world, splitting, corpus)
    reference = HeldOut(held_out, common=common_grams(held_out))
    train, touching = _draw_train(context, world, splitting, reference)
    check_no_leak(train, held_out, corpus=corpus, reference=reference)
    _check_sizes(held_out)
    by_split = {split: [case for case in held_out if case.split == split] for split in ("validation", "test")}
    write_jsonl(context.write(layout.TRAIN_CASES), train)
    write_jsonl(context.write(layout.VALIDATION_CASES), by_split["validation"])
    write_jsonl(context.write(layout.TEST_CASES), by_split["test"])
    write_jsonl(context.write(layout.KEPT_OUT), [*kept_by_records(reserved, splitting, train), *kept_by_words(refused, documents)])
    counts = {split: by_suite(cases) for split, cases in {"train": train, **by_split}.items()}
    report = {
        "cases": counts,
        "train_by_task": dict(sorted(Counter(case.task for case in train).items())),
        "test_by_task": dict(sorted(Counter(case.task for case in by_split["test"]).items())),
        "held_out_template_cases": sum("/held-out-" in case.template for case in held_out),
        "refused_held_out_in_corpus": len(refused),
        "refused_training_cases": dict(sorted(touching.items())),
        "reserved_combinations": len(splitting.reserved),
        "passages": len(world.passages),
        "tasks": len(TASKS),
    }
    write_json(context.write(REPORT), report)
    context.recorder.table("holdout", [{"split": split, **suites} for split, suites in counts.items()])
    context.recorder.summary({"tasks": len(TASKS), "train": len(train), **{split: len(cases) for split, cases in by_split.items()}})


def _world(context: StageContext, documents: list[Document]) -> World:
    settings = context.section("sources")
    knowledge_base = load_knowledge_base(context.read(layout.KNOWLEDGE_BASE))
    kb = select_diseases(knowledge_base, min(settings.diseases, len(knowledge_base.diseases)))
    world = World(kb)
    names = {disease.id: disease.name for disease in world.diseases}
    passages = tuple(find_passages(documents, names=names, facts=world.facts, pools=world.pools))
    queries = tuple(read_jsonl(context.read(layout.QUERIES)))
    return World(
        kb, passages=passages, queries=queries,
        option_count=context.section("knowledge").probe_options, noise_passages=context.section("holdout").noise_passages,
    )  # fmt: skip


def _splitting(context: StageContext, reserved: Iterable[str]) -> Splitting:
    settings: HoldoutSettings = context.section("holdout")
    return Splitting(validation_share=settings.validation_share, test_share=settings.test_share, seed=context.seed, reserved=frozenset(reserved))


def _draw_held_out(context: StageContext, world: World, splitting: Splitting, corpus: set[str]) -> tuple[list[Case], list[Case]]:
    """Return the validation and test cases, and the drawn ones that were refused because the corpus holds them."""
    settings: HoldoutSettings = context.section("holdout")
    refused: list[Case] = []

    def is_clean(case: Case) -> bool:
        is_refused = is_in_corpus(case, corpus)
        refused.extend([case] if is_refused else [])
        return not is_refused

    cases: list[Case] = []
    for number, (suite, test_cases) in enumerate(settings.test_cases.items()):
        wanted: dict[Split, int] = {"validation": settings.validation_cases_per_suite, "test": test_cases}
        cases += draw_held_out(world, tasks_of(suite), splitting=splitting, wanted=wanted, is_clean=is_clean)
        context.recorder.progress(number + 1, len(settings.test_cases) + len(TASKS))
    return cases, refused


def _draw_train(context: StageContext, world: World, splitting: Splitting, held_out: HeldOut) -> tuple[list[Case], Counter[str]]:
    """Return the training cases, and how many drawn ones were refused because they touch held-out ones, by how."""
    settings: HoldoutSettings = context.section("holdout")
    touching: Counter[str] = Counter()

    def is_clean(case: Case) -> bool:
        overlap = held_out.overlap(case)
        touching.update([overlap] if overlap else [])
        return overlap is None

    cases: list[Case] = []
    suites = len(settings.test_cases)
    for number, task in enumerate(TASKS.values()):
        cases += draw_train(world, task, splitting=splitting, wanted=settings.train_cases.get(task.suite, 0), is_clean=is_clean)
        context.recorder.progress(suites + number + 1, suites + len(TASKS))
    return cases, touching


def _check_sizes(held_out: list[Case]) -> None:
    missing = {task.suite for task in TASKS.values()} - {case.suite for case in held_out if case.split == "test"}
    if missing:
        raise DataError(f"holdout: no test case for {', '.join(sorted(missing))}; raise sources.diseases or sources.documents_per_disease")
