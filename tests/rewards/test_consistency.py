"""Agreement of reasoning and answer, on the shipped knowledge base."""

from pathlib import Path

import pytest

from components.knowledge_base.loading import load_knowledge_base
from components.rewards.consistency import ConsistencyScorer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kb():
    return load_knowledge_base(ROOT / "data" / "knowledge_base")


@pytest.fixture(scope="module")
def scorer(kb):
    return ConsistencyScorer(kb)


@pytest.fixture(scope="module")
def diseases(kb):
    codes: dict[str, int] = {}
    for disease in kb.diseases.values():
        codes[disease.icd10] = codes.get(disease.icd10, 0) + 1
    return [disease for disease in kb.diseases.values() if codes[disease.icd10] == 1]


def test_a_code_must_be_that_of_the_disease_named(scorer, diseases):
    first, second = diseases[0], diseases[1]
    assert scorer.score(f'<think>this suggests {first.name}</think>{{"icd10": "{first.icd10}"}}') == 1.0
    assert scorer.score(f'<think>this suggests {first.name}</think>{{"icd10": "{second.icd10}"}}') == 0.0


def test_conclusions_must_be_kept(scorer, kb):
    one, two, three = [drug.name for drug in list(kb.drugs.values())[:3]]
    assert scorer.score(f"<think>use {one} or {two}</think>It is treated with {one} and {two}.") == 1.0
    assert scorer.score(f"<think>use {one} or {two}</think>It is treated with {one} and {three}.") == 0.5
    assert scorer.score(f"<think>use {one}</think>It is treated with {three}.") == 0.0


def test_a_drug_warned_of_must_not_be_advised(scorer, kb):
    drug = next(iter(kb.drugs.values())).name
    assert scorer.score(f"<think>avoid {drug}</think>Avoid {drug}.") == 1.0
    assert scorer.score(f"<think>avoid {drug}</think>It is treated with {drug}.") == 0.0


def test_edges(scorer):
    assert scorer.score("It gets better with rest.") == 1.0
    assert scorer.score("<think>rest</think>") == 0.0
    assert scorer.score("<think>think well</think>It gets better with rest.") == 0.5
