"""Stage `evaluate`: every model of the run on the test split; rows, metrics, claims and the report.

Only this stage reads the test cases. Results are stored by (model digest, items digest), so a killed run goes on with
the part it was in, and a run in which one model changed asks only that model again.
"""

from pathlib import Path
from typing import Any

from components import layout
from components.cases.case import Case
from components.documents import read_models
from components.errors import DataError
from components.evaluation.claims import Claim, stage_claims
from components.evaluation.metrics import answer_counts, breakdowns, retrieval_effects, suite_metrics
from components.evaluation.model_scoring import ModelScorer, SamplingPlan
from components.evaluation.parts import Part, retrieval_part, suite_parts
from components.evaluation.report.content import ReportContent, stage_report
from components.evaluation.report.page import render_report
from components.evaluation.report.stored_controls import last_controls
from components.evaluation.result_store import ResultStore, grading_digest
from components.evaluation.results import ItemResult, write_results
from components.settings.evaluation import EvaluateSettings
from components.stage import StageContext
from components.storage.artifact_store import ModelReference, read_reference
from components.storage.files import atomic_writer, write_json

BENCH_RESULTS = "bench/results"  # shipped with the project, not a stage's output
STAGE_REPORTS = {
    "Curation": layout.CURATION_REPORT,
    "Coverage of knowledge points": layout.COVERAGE,
    "Reward models": layout.REWARD_REPORT,
}


def run(context: StageContext) -> None:
    """Score the models, then write results.parquet, metrics.json, claims.json, breakdowns.json and report.html."""
    settings: EvaluateSettings = context.section("evaluate")
    cases = _test_cases(context.read(layout.TEST_CASES))
    parts = _parts(context, cases, settings)
    results = _score_models(context, parts, settings)
    write_results(context.write(layout.RESULTS), [(model, row) for model, rows in results.items() for row in rows])
    _write_numbers(context, results, {case.id: case for case in cases}, settings)


def sampling_plan(settings: EvaluateSettings, *, seed: int) -> SamplingPlan:
    """Return how answers are sampled under the settings."""
    return SamplingPlan(settings.temperature, dict(settings.max_new_tokens), dict(settings.samplings), seed)


def _test_cases(path: Path) -> list[Case]:
    cases = sorted(read_models(path, Case), key=lambda case: case.id)
    for case in cases:
        if case.split != "test":
            raise DataError(f"{path}: case {case.id} belongs to split {case.split!r}; evaluation reads test cases only, run `holdout` again")
    if not cases:
        raise DataError(f"{path}: no test case; run `holdout` again")
    return cases


def _parts(context: StageContext, cases: list[Case], settings: EvaluateSettings) -> list[Part]:
    from components.retrieval.index import RetrievalIndex

    parts = suite_parts(cases)
    if settings.retrieval_cases:
        part = retrieval_part(
            cases, RetrievalIndex.load(context.read(layout.INDEX)), count=settings.retrieval_cases,
            passages=settings.retrieval_passages, maximum_words=settings.retrieval_words,
        )  # fmt: skip
        if part:
            parts.append(part)
            asked = sum(case.suite == "exam" for case in cases)
            context.recorder.note(f"the examination was asked on {asked} questions without passages and on {len(part.cases)} of them with passages")
    return parts


def score_reference(context: StageContext, reference: ModelReference) -> list[ItemResult]:
    """Score a published model on the same parts (the champion of an earlier run, for the gate); stored rows are read, not asked again."""
    from components.knowledge_base.loading import load_knowledge_base
    from components.rewards.oracle import Oracle

    settings: EvaluateSettings = context.section("evaluate")
    parts = _parts(context, _test_cases(context.read(layout.TEST_CASES)), settings)
    knowledge_base = context.read(layout.KNOWLEDGE_BASE)
    scorer = ModelScorer(
        context.store.fetch(reference), reference.digest, plan=sampling_plan(settings, seed=context.seed),
        store=ResultStore(context.store.root / "results"), grading=grading_digest(knowledge_base), oracle=Oracle(load_knowledge_base(knowledge_base)),
    )  # fmt: skip
    return scorer.score(parts, progress=context.recorder.progress)


def _score_models(context: StageContext, parts: list[Part], settings: EvaluateSettings) -> dict[str, list[ItemResult]]:
    from components.knowledge_base.loading import load_knowledge_base
    from components.rewards.oracle import Oracle

    knowledge_base = context.read(layout.KNOWLEDGE_BASE)
    oracle = Oracle(load_knowledge_base(knowledge_base))
    store = ResultStore(context.store.root / "results")
    plan, grading = sampling_plan(settings, seed=context.seed), grading_digest(knowledge_base)
    total = len(layout.MODELS) * sum(len(part.cases) for part in parts)
    results: dict[str, list[ItemResult]] = {}
    for position, (model, path) in enumerate(layout.MODELS.items()):
        scorer = ModelScorer(
            context.fetch_model(path), read_reference(context.read(path)).digest, plan=plan, store=store, grading=grading, oracle=oracle
        )
        base = position * (total // len(layout.MODELS))
        results[model] = scorer.score(parts, progress=lambda done, _, base=base: context.recorder.progress(base + done, total))
    return results


def _write_numbers(context: StageContext, results: dict[str, list[ItemResult]], cases: dict[str, Case], settings: EvaluateSettings) -> None:
    intervals = {"seed": context.seed, "confidence": settings.confidence, "draws": settings.bootstrap_draws}
    metrics = suite_metrics(results, **intervals)
    claims = stage_claims(results, cases, primary=settings.primary, kept=settings.kept, **intervals)
    cells, counts = breakdowns(results, **intervals), answer_counts(results)
    write_json(context.write(layout.METRICS), metrics)
    write_json(context.write(layout.CLAIMS), [claim.model_dump() | {"word": claim.word} for claim in claims])
    effects = retrieval_effects(results, **intervals)
    write_json(context.write(layout.BREAKDOWNS), {"cells": cells, "counts": counts, "retrieval": effects})
    _write_report(context, ReportContent(
        metrics=metrics, claims=claims, cells=cells, counts=counts, retrieval=effects, settings=settings, seed=context.seed,
        digests={model: read_reference(context.read(path)).digest for model, path in layout.MODELS.items()},
        mixture=stage_report(context.read(layout.RATIOS)),
        stage_reports={title: report for title, path in STAGE_REPORTS.items() if (report := stage_report(context.read(path)))},
        controls=last_controls(context.read(BENCH_RESULTS)),
    ))  # fmt: skip
    context.recorder.summary({f"{model}.{suite}": entry["value"] for model, suites in metrics.items() for suite, entry in suites.items()})
    _record(context, claims, counts)


def _write_report(context: StageContext, content: ReportContent) -> None:
    path = context.write(layout.REPORT)
    with atomic_writer(path) as stream:
        stream.write(render_report(content))
    context.recorder.file("report.html", path)


def _record(context: StageContext, claims: list[Claim], counts: list[dict[str, Any]]) -> None:
    for row in (row for row in counts if row["unscored"]):
        context.recorder.note(f"{row['model']} on {row['suite']}: {row['unscored']} of {row['answers']} answers could not be graded and were left out")
    context.recorder.table("claims", [claim.model_dump() | {"word": claim.word} for claim in claims])
    for claim in claims:
        if claim.kind != "overall":
            margin = f", margin {claim.margin:.2f}" if claim.margin is not None else ""
            context.recorder.note(
                f"{claim.model} on {claim.suite} against {claim.against}: {claim.before:.3f} → {claim.after:.3f}, difference "
                f"{claim.difference:+.3f} [{claim.low:+.3f}, {claim.high:+.3f}]{margin}, n {claim.n}: {claim.word}"
            )
