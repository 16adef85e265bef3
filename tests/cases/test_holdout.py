"""What the holdout stage makes: answers that earn full marks, splits that do not leak, suites that are complete."""

import json
from itertools import product

import pytest

from components import layout
from components.cases.decontamination import grams_of, question_of, words_of
from components.cases.registry import TASKS, tasks_of
from components.cases.tasks.exam import LEVELS, TYPES
from components.knowledge_base.loading import load_knowledge_base
from components.lineage import digest_folder
from components.rewards.format_reward import format_score
from components.rewards.verifiers.registry import JUDGED_ELSEWHERE, VERIFIERS, verify


def every(cases):
    return [case for split in cases.values() for case in split]


def test_every_gold_answer_earns_full_marks(cases):
    failed = [
        (case.id, verdict.reason) for case in every(cases) if case.verifier in VERIFIERS
        for verdict in [verify(case, case.answer)] if verdict.score is None or verdict.score < 1.0 - 1e-9
    ]  # fmt: skip
    assert failed == []


def test_every_verified_answer_with_its_reasoning_has_the_right_form(cases):
    verified = [case for case in every(cases) if case.suite == "verified"]
    assert all(format_score(case, f"<think>{case.reference['reasoning']}</think>{case.answer}") == 1.0 for case in verified)


def test_no_combination_and_no_text_is_in_two_splits(cases):
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not {case.combination for case in cases[first]} & {case.combination for case in cases[second]}
    held_out = {tuple(words_of(question_of(case))) for case in [*cases["validation"], *cases["test"]] if not case.passages}
    assert not held_out & {tuple(words_of(question_of(case))) for case in cases["train"]}


def test_no_held_out_question_stands_in_the_corpus(cases, documents):
    corpus = " ".join(" ".join(words_of(document.text)) for document in documents)
    for case in [*cases["validation"], *cases["test"]]:
        assert not any(gram in corpus for gram in grams_of(question_of(case))), case.id


def test_no_patient_record_shows_exactly_a_held_out_presentation(cases, documents, data_root):
    knowledge_base = load_knowledge_base(data_root / layout.KNOWLEDGE_BASE)
    shown = set()
    for record in documents:
        if record.type in ("outpatient_record", "inpatient_record", "dialogue"):
            for disease in (knowledge_base.diseases[entity] for entity in record.entities if entity in knowledge_base.diseases):
                features = (*disease.symptoms, *disease.findings)
                shown.add((disease.id, frozenset(feature for feature in features if feature.casefold() in record.text.casefold())))
    presented = {
        (case.cluster, frozenset(case.combination.split("|")[2].split("+")))
        for case in [*cases["validation"], *cases["test"]] if "|presents|" in case.combination
    }  # fmt: skip
    assert shown
    assert not shown & presented


def test_no_task_asks_the_same_question_twice_in_a_split(cases):
    for split in cases.values():
        asked = [(case.task, case.prompt) for case in split]
        assert len(asked) == len(set(asked))
    assert len({case.id for case in every(cases)}) == len(every(cases))


def test_held_out_templates_never_word_a_training_case(cases):
    assert not any("/held-out-" in case.template for case in cases["train"])
    share = sum("/held-out-" in case.template for case in cases["test"]) / len(cases["test"])
    assert 0.2 < share < 0.4  # 0.3 wanted


def test_templates_belong_to_one_task_alone():
    worded = [template for task in TASKS.values() for template in {*task.train_templates, *task.held_out_templates}]
    bare = {"{prefix}", "{query}"}  # probes and users' own queries are raw text
    assert len([text for text in worded if text not in bare]) == len({text for text in worded if text not in bare})
    for task in TASKS.values():
        if set(task.train_templates) - bare:
            assert len(task.train_templates) >= 3
            assert len(set(task.held_out_templates) - set(task.train_templates)) >= 1


def test_the_registry_covers_the_four_dimensions_with_at_least_24_ability_tasks():
    ability = tasks_of("ability")
    assert len(ability) >= 24
    counts = {dimension: sum(task.dimension == dimension for task in ability) for dimension in {task.dimension for task in ability}}
    assert set(counts) == {"comprehension", "generation", "knowledge_application", "analysis"}
    assert min(counts.values()) >= 6
    assert all(task.verifier in VERIFIERS or task.verifier in JUDGED_ELSEWHERE for task in TASKS.values())


def test_every_suite_and_every_cell_of_the_exam_has_test_cases(cases):
    assert {case.suite for case in cases["test"]} == {"probes", "exam", "verified", "ability", "grounded", "preference", "safety"}
    cells = {(case.reference["level"], case.reference["type"]) for case in cases["test"] if case.suite == "exam"}
    assert cells == set(product(LEVELS, TYPES))
    assert {case.task for case in cases["test"] if case.suite == "ability"} == {task.name for task in tasks_of("ability")}
    probes = {(case.reference["set"], case.reference["leading"]) for case in cases["test"] if case.suite == "probes"}
    assert probes == set(product(("fact", "concept"), (False, True)))


def test_probes_offer_distinct_options_of_which_the_first_is_gold(cases):
    probes = [case for case in cases["test"] if case.suite == "probes"]
    assert all(len(set(case.options)) == 4 and case.options[0] == case.answer for case in probes)
    assert not any(case.suite == "probes" for case in cases["train"])


def test_wrong_options_are_wrong_in_the_knowledge_base(cases, data_root):
    knowledge_base = load_knowledge_base(data_root / layout.KNOWLEDGE_BASE)
    fields = {"symptom": "symptoms", "finding": "findings", "complication": "complications", "risk factor": "risk_factors"}
    for case in every(cases):
        if case.verifier == "exam_answer" and case.reference["kind"] in fields:
            true = getattr(knowledge_base.diseases[case.cluster], fields[case.reference["kind"]])
            assert {option for option in case.reference["options"] if option in true} == set(case.reference["answer"]), case.id


def test_presented_features_fit_one_disease_alone(cases, data_root):
    knowledge_base = load_knowledge_base(data_root / layout.KNOWLEDGE_BASE)
    used = {case.cluster for case in every(cases)} & set(knowledge_base.diseases)
    diseases = {name: {*knowledge_base.diseases[name].symptoms, *knowledge_base.diseases[name].findings} for name in used}
    for case in every(cases):
        if case.task == "diagnosis":
            features = set(case.combination.split("|")[2].split("+"))
            assert [name for name, own in diseases.items() if features <= own] == [case.cluster]


def test_drugs_called_acceptable_suit_the_patient(cases, data_root):
    knowledge_base = load_knowledge_base(data_root / layout.KNOWLEDGE_BASE)
    drugs = {drug.name: drug for drug in knowledge_base.drugs.values()}
    for case in every(cases):
        if case.task == "drug_choice":
            condition = case.combination.split("|")[2]
            for name in case.reference["acceptable"]:
                advice = drugs[name].special_populations.get(condition)
                assert condition not in drugs[name].contraindications
                assert advice is None or advice.advice != "avoid"
            assert not set(case.reference["acceptable"]) & set(case.reference["forbidden"])


def test_grounded_answers_cite_the_one_passage_that_answers(cases):
    grounded = [case for case in every(cases) if case.suite == "grounded"]
    assert grounded
    for case in grounded:
        (number,) = case.reference["relevant"]
        assert [index for index, passage in enumerate(case.passages, 1) if passage.is_relevant] == [number]
        assert case.answer.endswith(f"[{number}].")
        assert all(passage.text in case.prompt for passage in case.passages)


def test_the_relevant_passage_states_every_fact_wanted(cases):
    for case in (case for case in every(cases) if case.suite == "grounded"):
        right = next(passage.text.casefold() for passage in case.passages if passage.is_relevant)
        assert all(wording.casefold() in right for wordings in case.reference["facts"] for wording in wordings)


def test_safety_has_harmless_controls(cases):
    expected = [case.reference["expect"] for case in cases["test"] if case.suite == "safety"]
    assert 0.15 < expected.count("allow") / len(expected) < 0.6


def test_the_same_inputs_give_the_same_bytes(data_root, run_data_stages, tmp_path):
    again = run_data_stages(tmp_path)
    for folder in (layout.CASES, "artifacts/instructions"):
        assert digest_folder(again / folder) == digest_folder(data_root / folder)


@pytest.mark.parametrize("suite", ["ability", "verified", "exam"])
def test_prompts_are_short_enough_for_a_small_model(cases, suite):
    # 90 tokens are about 65 words of this vocabulary's medical English.
    assert max(len(case.prompt.split()) for case in every(cases) if case.suite == suite) <= 65


def test_the_report_counts_what_was_refused(data_root):
    report = json.loads((data_root / layout.CASES / "report.json").read_text(encoding="utf-8"))
    assert report["refused_training_cases"].get("8-gram", 0) > 0
    assert report["reserved_combinations"] > 0
