"""Scoring: real verifiers on scripted answers, abstentions and crashes counted apart, parts stored and reused."""

import dataclasses
from pathlib import Path

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.evaluation.claims import stage_claims
from components.evaluation.format_scoring import score_format
from components.evaluation.metrics import answer_counts, breakdowns, suite_metrics
from components.evaluation.model_scoring import ModelScorer, SamplingPlan
from components.evaluation.parts import question_of, retrieval_part, suite_parts
from components.evaluation.probe_scoring import probe_score
from components.evaluation.result_store import ResultStore, items_digest
from components.evaluation.results import ItemResult, case_scores, headline, read_results, write_results
from components.evaluation.scoring import score_cases
from components.generation.sampler import SamplingOptions
from components.generation.scripted_sampler import ScriptedSampler
from components.modeling.tokenizers import train_tokenizer


def make_case(number: int, *, suite: str = "ability", verifier: str = "exact_text", prompt: str = "", **reference: object) -> Case:
    return Case(
        id=f"{suite}-{number}", split="test", suite=suite, task=f"{suite}_task", group="analysis", cluster=f"disease-{number % 3}",
        entities=(f"disease-{number % 3}",), combination=f"c{number}", template="t", answer="yes", verifier=verifier,
        messages=(Message(role="user", content=prompt or f"question {number}?"),), reference={"accept": ["yes"], **reference},
    )  # fmt: skip


def make_row(model_score: float | None, *, suite: str = "verified", number: int = 0, sampling: int = 0, condition: str = "") -> ItemResult:
    return ItemResult(suite, "task", f"{suite}-{number}", f"d{number % 10}", sampling, model_score, False, "", "cell", condition)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["question one two three? yes no"] * 5, vocabulary=512)


def test_answers_are_graded_in_case_order_and_by_suite_samplings(tokenizer):
    cases = [make_case(0, suite="safety"), make_case(1), make_case(2, suite="safety"), make_case(3)]
    cases = [case.model_copy(update={"verifier": "exact_text"}) for case in cases]
    sampler = ScriptedSampler([["yes", "no"]])
    rows = score_cases(sampler, tokenizer, cases, options=SamplingOptions(8), samplings={"safety": 2})
    assert [(row.case_id, row.sampling, row.score) for row in rows] == [
        ("safety-0", 0, 1.0), ("safety-0", 1, 0.0), ("ability-1", 0, 1.0), ("safety-2", 0, 1.0), ("safety-2", 1, 0.0), ("ability-3", 0, 1.0),
    ]  # fmt: skip


def test_answer_after_the_think_block_counts_alone(tokenizer):
    rows = score_cases(ScriptedSampler([["<think>no, no</think>yes"]]), tokenizer, [make_case(0)], options=SamplingOptions(8))
    assert rows[0].score == 1.0


def test_unreadable_answer_is_wrong_and_counted_but_a_crash_is_unscored(tokenizer):
    class CrashingOracle:
        def judge(self, case: Case, text: str) -> None:
            raise RuntimeError("judge broke")

    diagnosis = make_case(0, suite="verified", verifier="icd_diagnosis").model_copy(update={"reference": {"icd10": "J45.9"}})
    cases = [diagnosis, make_case(1, suite="preference", verifier="oracle")]
    rows = score_cases(ScriptedSampler([["I cannot say"]]), tokenizer, cases, options=SamplingOptions(8), oracle=CrashingOracle())
    assert (rows[0].score, rows[0].is_abstained) == (0.0, True)
    assert (rows[1].score, rows[1].is_abstained) == (None, False)
    counts = {row["suite"]: row for row in answer_counts({"m": rows})}
    assert counts["verified"]["abstained"] == 1 and counts["preference"]["unscored"] == 1
    assert "preference" not in suite_metrics({"m": rows}, seed=0, confidence=0.95, draws=100)["m"]


def test_probe_is_right_only_where_gold_is_likeliest():
    assert probe_score([-1.0, -2.0, -3.0]) == 1.0
    assert probe_score([-2.0, -1.0, -3.0]) == 0.0
    assert probe_score([-1.0, -1.0, -3.0]) == 0.5  # a tie of two is a coin's toss


def test_format_is_read_off_the_reasoning_answers():
    case = make_case(0, suite="verified", verifier="icd_diagnosis")
    cases = {case.id: case}
    good = '<think>wheeze suggests asthma</think>{"icd10": "J45.9"}'
    rows = [dataclasses.replace(make_row(1.0), text=text) for text in (good, '{"icd10": "J45.9"}')]
    rows.append(dataclasses.replace(make_row(1.0, suite="ability"), text=good))
    assert [row.score for row in score_format(rows, cases)] == [1.0, 0.0]


def test_case_mean_comes_before_the_suite_mean():
    # case 0: samplings 1, 0 and one unscored → .5; case 1: 1 → mean .75 over two cases, not 2/3 over three answers
    rows = [make_row(1.0), make_row(0.0, sampling=1), make_row(None, sampling=2), make_row(1.0, number=1)]
    assert case_scores(rows).scores == {"verified-0": 0.5, "verified-1": 1.0}
    metric = suite_metrics({"m": rows}, seed=0, confidence=0.95, draws=100)["m"]["verified"]
    assert metric["value"] == 0.75 and metric["n"] == 2


def test_answers_with_retrieval_stay_out_of_the_headline_and_have_a_cell_of_their_own():
    rows = [make_row(0.0, suite="exam", condition="closed_book"), make_row(1.0, suite="exam", condition="retrieval")]
    assert [row.score for row in headline(rows, "exam")] == [0.0]
    cells = breakdowns({"m": rows}, seed=0, confidence=0.95, draws=100)
    assert {cell["condition"]: cell["value"] for cell in cells} == {"closed_book": 0.0, "retrieval": 1.0}


def test_results_survive_the_file(tmp_path):
    rows = [make_row(None), make_row(0.25, number=4, condition="retrieval")]
    write_results(tmp_path / "r.parquet", [("a", rows[0]), ("b", rows[1])])
    assert read_results(tmp_path / "r.parquet") == {"a": [rows[0]], "b": [rows[1]]}
    first = (tmp_path / "r.parquet").read_bytes()
    write_results(tmp_path / "r.parquet", [("a", rows[0]), ("b", rows[1])])
    assert (tmp_path / "r.parquet").read_bytes() == first


def test_exam_with_passages_asks_the_same_questions_after_the_passages():
    class OnePassage:
        def search_many(self, queries: list[str], *, count: int) -> list[list[object]]:
            assert set(queries) == {"Which drug?"}  # options are not searched for
            return [[type("Found", (), {"document_id": "d1", "text": "Any drug helps. It rains a lot.", "authority": "A"})()] * count for _ in queries]

    cases = [make_case(n, suite="exam", prompt="Which drug? Options: a | b") for n in range(10)] + [make_case(11)]
    part = retrieval_part(cases, OnePassage(), count=4, passages=1, maximum_words=3)
    assert part is not None and len(part.cases) == 4 and part.condition == "retrieval"
    assert part.cases[0].prompt == "[1] (A) Any drug helps.\nWhich drug? Options: a | b"
    again = retrieval_part(cases[::-1], OnePassage(), count=4, passages=1, maximum_words=3)
    assert again == part  # the subset depends on the ids alone
    assert question_of(cases[0]) == "Which drug?"


def test_claims_compare_each_stage_with_the_one_before():
    better = [make_row(1.0 if number % 2 else 0.6, number=number) for number in range(40)]
    worse = [make_row(0.5, number=number) for number in range(40)]
    probes = [make_row(0.75, suite="probes", number=number) for number in range(40)]
    cases = {row.case_id: make_case(0).model_copy(update={"options": ("a", "b", "c", "d")}) for row in probes}
    claims = stage_claims(
        {"base": worse + probes, "tuned": better, "final": worse}, cases,
        primary={"base": "probes", "tuned": "verified", "final": "verified"}, kept={"final": {"verified": 0.5}},
        seed=1, confidence=0.95, draws=500,
    )  # fmt: skip
    found = {(claim.kind, claim.model): claim for claim in claims}
    assert found["chance", "base"].difference == pytest.approx(0.5)  # .75 against one in four
    assert found["gain", "tuned"].difference == pytest.approx(0.3) and found["gain", "tuned"].is_shown
    assert found["gain", "final"].difference == pytest.approx(-0.3) and found["gain", "final"].word == "not shown"
    assert found["kept", "final"].is_shown  # −.3, lower bound about −.41, with a margin of .5
    assert found["overall", "final"].difference == pytest.approx(0.0) and not found["overall", "final"].is_shown


def test_stored_part_is_not_asked_again_and_a_damaged_one_is(tmp_path, tokenizer):
    asked: list[str] = []

    class CountingScorer(ModelScorer):
        def _ask(self, part, progress):
            asked.append(part.name)
            return score_cases(ScriptedSampler([["yes"]]), tokenizer, part.cases, options=SamplingOptions(4))

    plan = SamplingPlan(temperature=0.6, max_new_tokens={}, samplings={}, seed=1)
    parts = suite_parts([make_case(0), make_case(1, suite="safety", verifier="exact_text")])

    def scorer(grading: str = "g") -> CountingScorer:
        return CountingScorer(tmp_path, "m" * 64, plan=plan, store=ResultStore(tmp_path / "store"), grading=grading, oracle=None)

    first = scorer().score(parts)
    assert asked == ["ability", "safety"] and scorer().score(parts) == first
    assert asked == ["ability", "safety"]
    damaged = next((tmp_path / "store").rglob("safety-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert scorer().score(parts) == first and asked == ["ability", "safety", "safety"]
    scorer("other grading code").score(parts)
    assert len(asked) == 5


def test_items_digest_follows_prompt_reference_and_settings():
    case = make_case(0)
    one = items_digest([case], settings={"t": 0.6}, grading="g")
    assert one == items_digest([case], settings={"t": 0.6}, grading="g")
    changed = case.model_copy(update={"reference": {"accept": ["no"]}})
    assert len({one, items_digest([changed], settings={"t": 0.6}, grading="g"), items_digest([case], settings={"t": 0.7}, grading="g")}) == 3


def test_results_file_that_is_missing_says_what_to_run(tmp_path: Path):
    from components.errors import StorageError

    with pytest.raises(StorageError, match="quarkmed stage evaluate"):
        read_results(tmp_path / "none.parquet")
