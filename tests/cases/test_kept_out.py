"""Which documents kept what out of validation and test: named by their ids, exactly those, and no word of theirs."""

from pathlib import Path

from components import layout
from components.cases.case import Case
from components.cases.generating import Splitting
from components.cases.kept_out import kept_by_records, kept_by_words
from components.cases.passages import PASSAGE_TYPES
from components.cases.splitting import split_of
from components.conversations import Message
from components.documents import Document, read_jsonl
from components.settings.settings import load_settings

SPLITTING = Splitting(validation_share=0.2, test_share=0.3, seed=1)
QUESTION = "A man of forty has had wheeze and a night cough since Monday."


def case(name, *, combination="c", text=QUESTION, split="test"):
    return Case(
        id=name, split=split, suite="verified", task="diagnosis", group="g", cluster="asthma", entities=("asthma",), combination=combination,
        template="t", messages=(Message(role="user", content=text),), answer="a", verifier="icd_diagnosis",
    )  # fmt: skip


def test_a_combination_names_its_records_only_where_it_would_be_held_out():
    combinations = [f"asthma|presents|{number}" for number in range(40)]
    reserved = {combination: [f"visit-{number}"] for number, combination in enumerate(combinations)}
    rows = list(kept_by_records(reserved, SPLITTING, [case("case-1", combination=combinations[0], split="train")]))
    splits = {f"visit-{number}": SPLITTING.split_of(combination) for number, combination in enumerate(combinations)}
    assert {row["source_ids"][0]: row["split"] for row in rows} == {name: split for name, split in splits.items() if split != "train"}
    assert 0 < len(rows) < 40 and len({row["id"] for row in rows}) == len(rows)


def test_the_training_questions_that_ask_for_it_are_named():
    held_out = next(name for name in map(str, range(99)) if SPLITTING.split_of(name) == "test")
    train = [case("case-1", combination=held_out, split="train"), case("case-2", combination="other", split="train"), case("case-3", combination=held_out, split="train")]
    (row,) = kept_by_records({held_out: ["visit-7", "visit-8"]}, SPLITTING, train)
    assert (row["source_ids"], row["case_ids"]) == (["visit-7", "visit-8"], ["case-1", "case-3"])


def test_a_refused_question_names_the_documents_that_hold_its_words_and_no_word():
    texts = {"book-1": f"He said: {QUESTION.lower()}", "book-2": "A man of forty has had a cough.", "visit-7": "Wheeze and a night cough since Monday, A man of forty has had wheeze and a."}
    documents = [Document(id=name, type="textbook", source="s", text=text) for name, text in texts.items()]
    rows = list(kept_by_words([case("case-1"), case("case-1"), case("case-2", text="What is the code of asthma in this long table of codes?")], documents))
    assert rows == [
        {"id": "refused-case-1", "why": "words", "source_ids": ["book-1", "visit-7"], "split": "test", "case_ids": []},
        {"id": "refused-case-2", "why": "words", "source_ids": [], "split": "test", "case_ids": []},
    ]  # fmt: skip
    assert list(kept_by_words([], documents)) == []


def test_the_stage_writes_them_down(cases, documents, data_root):
    rows = list(read_jsonl(data_root / layout.KEPT_OUT))
    of_records = [row for row in rows if row["why"] == "record"]
    records = {document.id for document in documents if document.type not in PASSAGE_TYPES}
    train = {item.id: item.combination for item in cases["train"]}
    settings = load_settings(Path(__file__).parents[2] / "params.yaml")
    assert rows and of_records and all(row["source_ids"] and set(row["source_ids"]) <= records for row in of_records)
    asked = {combination: row["split"] for row in of_records for combination in {train[name] for name in row["case_ids"]}}
    shares = {"validation_share": settings.holdout.validation_share, "test_share": settings.holdout.test_share, "seed": settings.run.seed}
    assert asked and all(split_of(combination, **shares) == split for combination, split in asked.items())
    assert all(row["source_ids"] for row in rows)
