"""The oracle's scores, each derived by hand from a two-disease knowledge base."""

from pathlib import Path

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.errors import DataError
from components.knowledge_base.loading import load_knowledge_base
from components.rewards.oracle import Oracle

KB = load_knowledge_base(Path(__file__).parents[2] / "data/knowledge_base")
# asthma: drugs salbutamol, budesonide, beclometasone, formoterol; tests spirometry, peak flow, full blood count, specific IgE
GOLD = "Asthma is first treated with salbutamol or beclometasone. Useful tests are spirometry and full blood count. See a doctor if it gets worse."


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(KB)


def asthma_case(aspects=("drugs", "tests"), population=None, prompt="How is asthma treated and tested?", disease="asthma") -> Case:
    return Case(
        id=f"c-{disease}-{'-'.join(aspects)}-{population}", split="train", suite="preference", task="general", group="general", cluster=disease,
        entities=(disease,), combination="x", template="t", messages=(Message(role="user", content=prompt),), answer=GOLD,
        verifier="oracle", reference={"disease": disease, "aspects": list(aspects), "population": population},
    )  # fmt: skip


def test_full_mark_answer_scores_one_on_every_dimension(oracle):
    scores = oracle.judge(asthma_case(), GOLD)
    assert (scores.honesty, scores.helpfulness, scores.consistency) == (1.0, 1.0, 1.0)
    assert scores.overall == pytest.approx((3.0 + scores.compliance) / 4)


def test_a_false_drug_lowers_honesty_by_its_share_of_the_claims(oracle):
    # claims: salbutamol right, metformin wrong, spirometry right, full blood count right -> 3/4
    text = GOLD.replace("beclometasone", "metformin")
    scores = oracle.judge(asthma_case(), text)
    assert scores.honesty == pytest.approx(0.75)
    # coverage: one of two drugs, two of two tests -> (.5 + 1) / 2; nothing else is punished
    assert scores.helpfulness == pytest.approx(0.75)


def test_naming_every_drug_in_the_book_scores_low(oracle):
    everything = "Asthma is treated with " + ", ".join(drug.name for drug in KB.drugs.values()) + ". See a doctor if it gets worse."
    scores = oracle.judge(asthma_case(), everything)
    assert scores.honesty < 0.1
    # half the aspects are covered; 7 items are the limit of what was asked, of more than 250
    assert scores.helpfulness < 0.05


def test_a_contraindicated_drug_makes_honesty_zero_and_warning_of_it_does_not(oracle):
    # doxycycline is first-line for pneumonia and to be avoided in pregnancy
    case = asthma_case(("drugs",), "pregnancy", "What treats community-acquired pneumonia in pregnancy?", "community_acquired_pneumonia")
    bad = "Community-acquired pneumonia is first treated with amoxicillin or doxycycline."
    good = "Community-acquired pneumonia is first treated with amoxicillin. Avoid doxycycline in pregnancy."
    assert oracle.judge(case, bad).honesty == 0.0
    assert oracle.judge(case, good).honesty == 1.0


def test_warning_of_a_suitable_drug_is_a_false_claim(oracle):
    # claims: salbutamol warned of though right for the disease (wrong), budesonide right -> 1/2
    scores = oracle.judge(asthma_case(("drugs",)), "For asthma do not use salbutamol. Start with budesonide first.")
    assert scores.honesty == pytest.approx(0.5)


def test_repeating_a_sentence_is_worth_less_than_saying_it_once(oracle):
    sentence = "Asthma is first treated with salbutamol or beclometasone. "
    once = oracle.judge(asthma_case(("drugs",)), sentence).helpfulness
    thrice = oracle.judge(asthma_case(("drugs",)), sentence * 3).helpfulness
    # 24 words, 21 four-grams, 8 distinct: 1 - 2 * 13/21 < 0 -> 0
    assert (once, thrice) == (1.0, 0.0)


def test_naming_a_long_disease_twice_is_no_repetition(oracle):
    text = "Gastro-oesophageal reflux disease is first treated with omeprazole and lansoprazole. Gastro-oesophageal reflux disease may cause heartburn."
    case = asthma_case(("drugs",), disease="gastro_oesophageal_reflux_disease", prompt="How is gastro-oesophageal reflux disease treated?")
    assert oracle.judge(case, text).helpfulness == 1.0


def test_a_bare_list_of_words_is_worth_less_than_sentences(oracle):
    # every word stands inside a phrase of the knowledge base: wording 0
    assert oracle.judge(asthma_case(), "salbutamol beclometasone spirometry peak flow").helpfulness == 0.0


def test_another_diseases_answer_is_neither_honest_nor_helpful(oracle):
    text = "Type 2 diabetes is first treated with metformin. A useful test is the HbA1c test."
    scores = oracle.judge(asthma_case(), text)
    assert (scores.honesty, scores.helpfulness) == (0.0, 0.0)


@pytest.mark.parametrize("text", ["", "   ", "See a doctor.", "<think>salbutamol</think>"])
def test_saying_nothing_helps_nobody(oracle, text):
    assert oracle.judge(asthma_case(), text).helpfulness == 0.0


def test_length_alone_earns_nothing(oracle):
    padded = GOLD + " Please keep all your appointments and write down how you feel on every day of the coming week."
    assert oracle.judge(asthma_case(), padded).helpfulness == oracle.judge(asthma_case(), GOLD).helpfulness


def test_reasoning_that_names_other_drugs_than_the_answer_is_inconsistent(oracle):
    final = "Asthma is first treated with salbutamol or beclometasone."
    agreeing = oracle.judge(asthma_case(("drugs",)), f"<think>salbutamol opens the airways</think>{final}")
    # reasoning names salbutamol (kept) and metformin (not kept): 1/2
    half = oracle.judge(asthma_case(("drugs",)), f"<think>salbutamol and metformin fit</think>{final}")
    assert (agreeing.consistency, half.consistency) == (1.0, 0.5)


def test_only_what_follows_the_reasoning_is_judged_for_honesty(oracle):
    scores = oracle.judge(asthma_case(("drugs",)), "<think>metformin and warfarin</think>Asthma is first treated with salbutamol.")
    assert scores.honesty == 1.0


def test_advising_and_warning_of_the_same_drug_is_inconsistent(oracle):
    assert oracle.judge(asthma_case(("drugs",)), "Use salbutamol first. Avoid salbutamol.").consistency == 0.0


def test_an_unknown_disease_is_an_error_not_a_score(oracle):
    with pytest.raises(DataError, match="not in the knowledge base"):
        oracle.judge(asthma_case(disease="no_such_disease"), GOLD)


def test_ten_thousand_answers_take_seconds(oracle):
    import time

    started = time.perf_counter()
    for _ in range(2000):
        oracle.judge(asthma_case(), GOLD)
    assert time.perf_counter() - started < 5.0
