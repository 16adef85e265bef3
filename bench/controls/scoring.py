"""Scores of one model on one suite of the test split, sampled and graded exactly as the stage `evaluate` does."""

from components import layout
from components.cases.case import Case
from components.documents import read_models
from components.errors import DataError
from components.evaluation.evaluate_stage import sampling_plan
from components.evaluation.model_scoring import ModelScorer
from components.evaluation.parts import suite_parts
from components.evaluation.result_store import ResultStore, grading_digest
from components.evaluation.results import case_scores, headline
from components.knowledge_base.loading import load_knowledge_base
from components.rewards.oracle import Oracle
from components.stage import StageContext
from components.storage.artifact_store import read_reference
from components.storage.files import write_json

CODE = "bench/controls/scoring.py"
SCORED = "models/scored.json"


def scores_path(suite: str) -> str:
    """Return where a suite's scores lie in the workspace of a model."""
    return f"{suite}.json"


def score_suite(context: StageContext, *, suite: str) -> None:
    """Write {"scores": {case: mean score}, "clusters": {case: cluster}}.

    Raises:
        DataError: the test split has no case of the suite.
    """
    path = context.read(layout.TEST_CASES)
    cases = sorted(read_models(path, Case), key=lambda case: case.id)
    parts = [part for part in suite_parts(cases) if part.suite == suite]
    if not parts:
        raise DataError(f"{path}: no test case of suite {suite}; raise holdout.test_cases.{suite}")
    reference, knowledge_base = read_reference(context.read(SCORED)), context.read(layout.KNOWLEDGE_BASE)
    scorer = ModelScorer(
        context.store.fetch(reference), reference.digest, plan=sampling_plan(context.section("evaluate"), seed=context.seed),
        store=ResultStore(context.store.root / "results"), grading=grading_digest(knowledge_base), oracle=Oracle(load_knowledge_base(knowledge_base)),
    )  # fmt: skip
    scored = case_scores(headline(scorer.score(parts, progress=context.recorder.progress), suite))
    write_json(context.write(scores_path(suite)), {"scores": scored.scores, "clusters": scored.clusters})
