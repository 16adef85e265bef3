"""The split itself, the even filling, and decontamination by hand-made cases."""

import pytest

from components.cases.case import Case, Passage
from components.cases.decontamination import HeldOut, check_no_leak, common_grams, corpus_grams, is_in_corpus
from components.cases.generating import fill_evenly
from components.cases.splitting import combination_of, split_of
from components.conversations import Message
from components.errors import DataError


def make_case(text: str, combination: str = "d|x|y", **changes: object) -> Case:
    values = {
        "id": f"case-{text[:20]}", "split": "train", "suite": "ability", "task": "t", "group": "analysis", "cluster": "d",
        "entities": ("d",), "combination": combination, "template": "t/train-0", "messages": (Message(role="user", content=text),),
        "answer": "a", "verifier": "exact_text",
    }  # fmt: skip
    return Case.model_validate({**values, **changes})


def test_facts_in_any_order_are_one_combination():
    assert combination_of("asthma", "presents", "wheeze", "cough") == combination_of("asthma", "presents", "cough", "wheeze")


def test_shares_of_combinations_are_those_asked_for():
    splits = [split_of(f"d|x|{number}", validation_share=0.1, test_share=0.25, seed=1) for number in range(4000)]
    # Binomial standard deviations: .0047 and .0068; four of them.
    assert splits.count("validation") / 4000 == pytest.approx(0.1, abs=0.019)
    assert splits.count("test") / 4000 == pytest.approx(0.25, abs=0.028)


def test_a_reserved_combination_is_always_training():
    combination = next(name for name in map(str, range(100)) if split_of(name, validation_share=0.1, test_share=0.25, seed=1) == "test")
    assert split_of(combination, validation_share=0.1, test_share=0.25, seed=1, reserved={combination}) == "train"


def test_tasks_share_a_total_evenly_as_far_as_they_reach():
    cases = {name: [make_case(f"{name} {number}") for number in range(count)] for name, count in {"a": 2, "b": 10, "c": 10}.items()}
    # 12 over three: a gives its 2, b and c 5 each.
    assert {name: len(kept) for name, kept in fill_evenly(cases, 12).items()} == {"a": 2, "b": 5, "c": 5}
    assert sum(map(len, fill_evenly(cases, 100).values())) == 22


def test_held_out_text_combination_and_long_overlap_are_each_refused():
    held_out = HeldOut([make_case("one two three four five six seven eight nine", "d|x|held")], common=set())
    assert held_out.overlap(make_case("something else", "d|x|held")) == "combination"
    assert held_out.overlap(make_case("One, two three four five six seven; eight nine!")) == "text"
    assert held_out.overlap(make_case("zero one two three four five six seven eight")) == "8-gram"
    assert held_out.overlap(make_case("one two three four five six seven")) is None


def test_wording_that_many_combinations_share_is_no_overlap():
    wording = "please read this note and name the right department for"
    cases = [make_case(f"{wording} {word}", f"d|x|{word}") for word in ("a", "b", "c", "e")]
    held_out = HeldOut(cases, common=common_grams(cases))
    assert held_out.overlap(make_case(f"{wording} f", "d|x|f")) is None
    assert HeldOut(cases, common=set()).overlap(make_case(f"{wording} f", "d|x|f")) == "8-gram"


def test_passages_shown_in_a_question_do_not_count_as_corpus_text():
    passage = "asthma is treated with salbutamol or budesonide in most patients"
    corpus = corpus_grams([passage])
    shown = Passage(document_id="p", text=passage, authority="A", is_relevant=True)
    assert not is_in_corpus(make_case(f"[1] (A) {passage}\nHow is it treated?", passages=(shown,)), corpus)
    assert is_in_corpus(make_case(passage), corpus)


@pytest.mark.parametrize("leak", ["combination", "corpus"])
def test_a_planted_leak_stops_the_stage(leak):
    text = "a woman with wheeze and cough at night who asks for the right code"
    held_out = [make_case(text, "d|x|held", split="test")]
    train = [make_case("other words", "d|x|held" if leak == "combination" else "d|x|train")]
    corpus = corpus_grams([text] if leak == "corpus" else [])
    with pytest.raises(DataError, match=leak):
        check_no_leak(train, held_out, corpus=corpus, reference=HeldOut(held_out, common=set()))
