"""Stage `answers`: queries → passages → N candidates of `ift` → rules → best of N by reward models → annotated samples.

General queries (preference suite) and grounded ones (passages shown, citations asked for) of the train split become the
tuning samples of `sft`, with a replayed share of the instructions; those of the validation split tell it when to stop
and give the unbiased comparison with the first and a random candidate. A query whose candidates all break a rule falls
back on the gold answer, and how often is in the report. Departure from the report: the experts' check is a sheet
(`review.csv`) that a person may fill in; nothing waits for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components import layout
from components.answers.annotation import annotate
from components.answers.best_of_n import Query, choose
from components.answers.candidates import Scorer, sample_candidates, score_candidates
from components.answers.comparison import compare_choices
from components.answers.review import key_points_of, review_row, write_review_csv
from components.cases.case import Case
from components.cases.registry import TASKS
from components.conversations import Message, Sample
from components.documents import read_models, write_jsonl
from components.generation.kept_sampler import KeptSampler
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import Sampler, SamplingOptions
from components.knowledge_base.loading import load_knowledge_base
from components.lineage import stable_fraction
from components.modeling.models import load_model
from components.modeling.tokenizers import load_tokenizer
from components.retrieval.index import RetrievalIndex
from components.rewards.compliance import CARE_ADVICE
from components.rewards.oracle import Oracle
from components.rewards.reward_model import RewardModel
from components.rewards.verifiers.registry import verify
from components.settings.training import AnswersSettings
from components.stage import StageContext
from components.storage.files import write_json
from components.training.supervised.replay import draw_replay

REVIEW_SHEET = "artifacts/answers/review.csv"
REVIEW_LINES = "artifacts/answers/review.jsonl"
ANSWER_LEVEL = 3
SAMPLING_SEED = 101


@dataclass(frozen=True)
class Answered:
    """The queries of one split with their choices, and the samples made of them."""

    queries: list[Query]
    samples: list[Sample]


def run(context: StageContext) -> None:
    """Make the tuning and validation samples of `sft`, the report and the experts' sheet."""
    settings: AnswersSettings = context.section("answers")
    oracle = Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE)))
    answered, validated = answer_splits(context, oracle)
    instructions = read_models(context.read(layout.SAMPLES), Sample)
    replay = draw_replay(
        instructions, others=len(answered.samples), share=settings.replay_share, seed=context.seed, kinds=lambda sample: TASKS[sample.task].suite
    )
    write_jsonl(context.write(layout.ANSWERS), [*answered.samples, *replay])
    write_jsonl(context.write(layout.ANSWERS_VALIDATION), validated.samples)
    _write_review(context, answered, oracle, settings)
    report = make_report(answered, validated, oracle, replayed=len(replay), seed=context.seed)
    write_json(context.write(layout.ANSWERS_REPORT), report)
    _record(context, report)


def answer_splits(context: StageContext, oracle: Oracle) -> tuple[Answered, Answered]:
    """Answer the queries of the train split, then those of the validation split."""
    settings: AnswersSettings = context.section("answers")
    folder = context.fetch_model(layout.IFT)
    tokenizer = load_tokenizer(folder)
    sampler = KeptSampler(NativeSampler(load_model(folder), tokenizer, precision="auto"), context.checkpoints)
    scorers: dict[str, Scorer] = {
        "honesty": RewardModel.load(context.fetch_model(layout.REWARD_HONESTY), precision="auto").score,
        "helpfulness": RewardModel.load(context.fetch_model(layout.REWARD_HELPFULNESS), precision="auto").score,
    }
    train = select_queries(read_models(context.read(layout.TRAIN_CASES), Case), count=settings.queries, settings=settings, seed=context.seed)
    validation = select_queries(
        read_models(context.read(layout.VALIDATION_CASES), Case), count=settings.validation_queries, settings=settings, seed=context.seed
    )
    total = len(train) + len(validation)

    def answer(cases: list[Case], done: int) -> Answered:
        return answer_queries(
            cases, sampler, tokenizer, scorers, oracle, settings=settings, seed=context.seed,
            progress=lambda part, _: context.recorder.progress(done + part, total + 1),
        )  # fmt: skip

    return answer(train, 0), answer(validation, len(train))


def select_queries(cases: Sequence[Case], *, count: int, settings: AnswersSettings, seed: int) -> list[Case]:
    """Draw grounded and general cases in the settings' shares, by id and seed alone; what one lacks the other fills."""
    ordered = sorted(cases, key=lambda case: (stable_fraction(str(seed), "answers", case.id), case.id))
    grounded = [case for case in ordered if case.suite == "grounded"]
    general = [case for case in ordered if case.suite == "preference"]
    wanted = max(round(count * settings.grounded_share), count - len(general))
    chosen = grounded[:wanted]
    return [*chosen, *general[: count - len(chosen)]]


def answer_queries(
    cases: Sequence[Case], sampler: Sampler, tokenizer: Any, scorers: Mapping[str, Scorer], oracle: Oracle, *,
    settings: AnswersSettings, seed: int, progress: Any = None,
) -> Answered:  # fmt: skip
    """Sample, check, choose and annotate."""
    options = SamplingOptions(
        max_new_tokens=settings.max_new_tokens, samples=settings.candidates, temperature=settings.temperature, seed=seed + SAMPLING_SEED
    )
    completions = sample_candidates(sampler, tokenizer, cases, options, progress=progress)
    unsafe = {case.id: oracle.facts(case).contraindicated for case in cases if case.suite == "preference"}
    candidates = score_candidates(cases, completions, finder=oracle.finder, unsafe_drugs=unsafe, scorers=scorers)
    queries = choose(cases, candidates)
    return Answered(queries, [to_sample(query) for query in queries])


def chosen_text(query: Query) -> str:
    """Return the annotated choice, or the gold answer where every candidate breaks a rule."""
    if query.chosen is None:
        return query.case.answer
    text = query.candidates[query.chosen].text
    return annotate(text, is_general=not query.case.passages, has_care_advice=CARE_ADVICE.search(text) is not None)


def to_sample(query: Query) -> Sample:
    """Return the tuning sample of an answered query."""
    case = query.case
    return Sample(
        id=f"answer-{case.id}", task=case.task, group=case.group, level=ANSWER_LEVEL,
        messages=(*case.messages, Message(role="assistant", content=chosen_text(query))),
        case_id=case.id, source_ids=case.source_ids, record_ids=case.record_ids,
    )  # fmt: skip


def make_report(answered: Answered, validated: Answered, oracle: Oracle, *, replayed: int, seed: int) -> dict[str, Any]:
    """Return counts of the tuning queries and, on the validation queries, what choosing is worth."""
    report: dict[str, Any] = {"replayed_samples": replayed, "samples": len(answered.samples) + replayed, "by_suite": {}, "validation": {}}
    for suite in ("grounded", "preference"):
        queries = [query for query in answered.queries if query.case.suite == suite]
        broken = Counter(rule for query in queries for candidate in query.candidates for rule in candidate.broken)
        total = sum(len(query.candidates) for query in queries)
        report["by_suite"][suite] = {
            "queries": len(queries),
            "candidates": total,
            "fallback_share": sum(query.chosen is None for query in queries) / max(1, len(queries)),
            "broken_rules": {rule: count / total for rule, count in sorted(broken.items())},
        }
        held_out = [query for query in validated.queries if query.case.suite == suite]
        judge = _judge_general(oracle) if suite == "preference" else _judge_grounded
        report["validation"][suite] = compare_choices(held_out, judge, seed=seed)
    return report


def _judge_general(oracle: Oracle) -> Any:
    return lambda case, text: oracle.judge(case, text).overall


def _judge_grounded(case: Case, text: str) -> float | None:
    return verify(case, text).score


def _write_review(context: StageContext, answered: Answered, oracle: Oracle, settings: AnswersSettings) -> None:
    general = [query.case.prompt for query in answered.queries if not query.case.passages]
    found = dict(zip(general, RetrievalIndex.load(context.read(layout.INDEX)).search_many(general, count=settings.passages), strict=True))
    rows = []
    for query in answered.queries:
        case = query.case
        passages = case.passages or found[case.prompt]
        points = key_points_of(oracle.facts(case)) if case.suite == "preference" else [case.answer]
        shown = [f"[{number}] ({passage.authority}) {passage.text}" for number, passage in enumerate(passages, start=1)]
        rows.append(review_row(query, chosen_text(query), passages=shown, documents=[passage.document_id for passage in passages], key_points=points))
    write_jsonl(context.write(REVIEW_LINES), rows)
    write_review_csv(context.write(REVIEW_SHEET), rows)
    context.recorder.table("answers", [{key: row[key] for key in ("question", "chosen_answer", "is_fallback", "key_points")} for row in rows[:100]])


def _record(context: StageContext, report: dict[str, Any]) -> None:
    values = {"samples": report["samples"], "replayed_samples": report["replayed_samples"]}
    for suite, counts in report["by_suite"].items():
        values[f"{suite}_queries"] = counts["queries"]
        values[f"{suite}_fallback_share"] = counts["fallback_share"]
    for suite, comparison in report["validation"].items():
        for way in ("best_of_n", "first", "random", "ceiling"):
            if comparison:
                values[f"validation_{suite}_{way}"] = comparison[way]["value"]
    context.recorder.summary(values)
    fallbacks = ", ".join(f"{suite} {counts['fallback_share']:.0%}" for suite, counts in report["by_suite"].items())
    context.recorder.note(f"queries whose candidates all broke a rule, answered with the gold answer: {fallbacks}")
    context.recorder.progress(1, 1)
