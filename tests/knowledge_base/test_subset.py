"""Subsets: nested, balanced, closed under reference; triples state each fact once."""

from collections import Counter
from pathlib import Path

import pytest

from components.errors import SettingsError
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.subset import select_diseases
from components.knowledge_base.triples import OBJECT_TYPES, triples


@pytest.fixture(scope="module")
def whole():
    return load_knowledge_base(Path(__file__).parents[2] / "data" / "knowledge_base")


def test_a_smaller_subset_is_part_of_a_larger_one(whole):
    small, large = select_diseases(whole, 20), select_diseases(whole, 60)
    assert set(small.diseases) < set(large.diseases)
    assert len(large.diseases) == 60


def test_departments_take_turns(whole):
    # as many diseases as departments: one from each
    departments = {disease.department for disease in whole.diseases.values()}
    chosen = select_diseases(whole, len(departments)).diseases.values()
    assert Counter(disease.department for disease in chosen) == Counter(dict.fromkeys(departments, 1))


def test_each_department_gives_its_commonest_disease_first(whole):
    departments = {disease.department for disease in whole.diseases.values()}
    order = ["very_common", "common", "uncommon", "rare"]
    for disease in select_diseases(whole, len(departments)).diseases.values():
        peers = [other.prevalence for other in whole.diseases.values() if other.department == disease.department]
        assert disease.prevalence == min(peers, key=order.index)


def test_a_subset_refers_only_to_itself(whole):
    subset = select_diseases(whole, 30)
    for disease in subset.diseases.values():
        assert set(disease.first_line_drugs) <= set(subset.drugs)
        assert set(disease.indicated_tests) <= set(subset.tests)
    for drug in subset.drugs.values():
        assert set(drug.indications) <= set(subset.diseases)
        assert {item.with_drug for item in drug.interactions} <= set(subset.drugs)


def test_the_whole_taken_as_a_subset_loses_no_disease(whole):
    assert select_diseases(whole, len(whole.diseases)).diseases == whole.diseases


def test_more_diseases_than_there_are_is_refused(whole):
    with pytest.raises(SettingsError, match=r"sources\.diseases"):
        select_diseases(whole, len(whole.diseases) + 1)


def test_triples_state_every_list_entry_once(whole):
    subset = select_diseases(whole, 10)
    facts = triples(subset)
    asthma = whole.diseases["asthma"]
    assert len(set(facts)) == len(facts)
    assert {fact.predicate for fact in facts} == set(OBJECT_TYPES)
    # two (code, department) and one for each symptom, finding, drug, test, complication and risk factor
    expected = 2 + sum(
        len(items)
        for items in (
            asthma.symptoms, asthma.findings, asthma.first_line_drugs, asthma.indicated_tests, asthma.complications, asthma.risk_factors,
        )
    )  # fmt: skip
    assert sum(fact.subject == "asthma" for fact in triples(whole)) == expected
