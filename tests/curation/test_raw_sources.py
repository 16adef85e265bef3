"""Raw sources: planted spans stand where they say, documents do not depend on each other, user folders are checked."""

import json
import random
from pathlib import Path

import pytest

from components.curation.raw_sources.document_writing import write_documents
from components.curation.raw_sources.identities import ChineseIdentity
from components.curation.raw_sources.planting import Planted, fill
from components.curation.raw_sources.records import write_records
from components.curation.raw_sources.sentences import join_phrases
from components.curation.raw_sources.user_sources import read_user_sources
from components.errors import DataError
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.subset import select_diseases


@pytest.fixture(scope="module")
def knowledge_base():
    return select_diseases(load_knowledge_base(Path(__file__).parents[2] / "data" / "knowledge_base"), 12)


def test_planted_spans_are_where_the_values_stand():
    filled = fill(
        "Dr. {who} saw {who} on {day}: {what}.",
        {"who": Planted("NAME", "Ann Lee"), "day": Planted("DATE", "1 May"), "what": "well"},
    )
    assert filled.text == "Dr. Ann Lee saw Ann Lee on 1 May: well."
    # "Dr. " is 4 characters, the name 7; " saw " 5; the name 7; " on " 4; the date 5
    assert filled.spans == ((4, 11, "NAME"), (16, 23, "NAME"), (27, 32, "DATE"))


@pytest.mark.parametrize(
    ("items", "expected"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_phrases_are_joined_as_in_prose(items, expected):
    assert join_phrases(items) == expected


def test_a_document_depends_on_its_seed_and_name_only(knowledge_base):
    # the first three documents of each disease are the same whether three or six are written
    short = {item.id: item for item in write_documents(knowledge_base, seed=7, per_disease=2)}
    long = {item.id: item for item in write_documents(knowledge_base, seed=7, per_disease=6)}
    assert all(long[name] == item for name, item in short.items())
    other = {item.id: item for item in write_documents(knowledge_base, seed=8, per_disease=2)}
    assert sum(other[name].text == item.text for name, item in short.items()) < len(short) / 4


def test_documents_of_one_type_about_one_disease_differ_in_wording(knowledge_base):
    texts = {item.id: item.text for item in write_documents(knowledge_base, seed=7, per_disease=12)}
    for disease in knowledge_base.diseases:
        orders = {texts[f"textbook-{disease}-{number:02d}"] for number in (0, 6, 10)}
        assert len(orders) == 3


def test_every_statement_from_features_to_a_disease_names_four_features_or_more(knowledge_base):
    features = {
        feature.casefold()
        for disease in knowledge_base.diseases.values()
        for feature in (*disease.symptoms, *disease.findings)
    }
    for document in write_documents(knowledge_base, seed=3, per_disease=4):
        for sentence in document.text.split(". "):
            if "suggest" in sentence or "think of" in sentence or "points to" in sentence:
                assert sum(feature in sentence.casefold() for feature in features) >= 4


def test_gold_spans_lie_apart_and_ages_are_above_89(knowledge_base):
    for record in write_records(knowledge_base, seed=5, per_disease=8):
        ends = 0
        for start, end, kind in record.spans:
            assert ends <= start < end <= len(record.document.text)
            ends = end
            if kind == "AGE_OVER_89":
                number = "".join(character for character in record.document.text[start:end] if character.isdigit())
                assert int(number) > 89
        assert len(record.combination) in (0, 5)  # four symptoms and a finding; Chinese records state none


def test_resident_numbers_have_a_valid_check_digit():
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999, table 1
    identity = ChineseIdentity(random.Random(1))
    for _ in range(20):
        number = identity.resident_number().text
        assert len(number) == 18
        assert (
            "10X98765432"[sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False)) % 11]
            == number[17]
        )


def _user_folder(tmp_path: Path) -> Path:
    document = {"id": "d1", "type": "textbook", "text": "Asthma is a disease of the airways.", "source": "book"}
    record = {"id": "r1", "type": "dialogue", "text": "Doctor: Hello, Mr. Smith.", "source": "clinic"}
    triple = {
        "subject": "asthma",
        "predicate": "has_symptom",
        "object": "wheeze",
        "subject_type": "disease",
        "object_type": "symptom",
    }
    query = {"id": "q1", "text": "what is asthma", "kind": "symptoms", "entities": ["asthma"]}
    gold = {"id": "r1", "spans": [{"start": 19, "end": 24, "type": "NAME"}]}
    for name, row in (
        ("documents", document),
        ("records", record),
        ("triples", triple),
        ("queries", query),
        ("gold_spans", gold),
    ):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return tmp_path


def test_a_users_folder_is_read_and_records_can_be_followed(tmp_path):
    sources = read_user_sources(_user_folder(tmp_path))
    assert sources.records[0].record_ids == ("r1",)
    span = sources.gold_spans[0].spans[0]
    assert sources.records[0].text[span.start : span.end] == "Smith"


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("documents", '{"id": "d2", "type": "novel", "text": "x", "source": "s"}', r"documents\.jsonl:2: type"),
        ("documents", '{"id": "d1", "type": "web", "text": "x", "source": "s"}', r"documents\.jsonl:2: id 'd1' stands twice"),
        ("documents", '{"id": "d2",', r"documents\.jsonl:2: not valid JSON"),
        ("records", '{"id": "r2", "type": "textbook", "text": "x", "source": "s"}', r"records\.jsonl:2: type 'textbook' is no record type"),
        ("triples", '{"subject": "a"}', r"triples\.jsonl:2: predicate"),
        ("gold_spans", '{"id": "r1", "spans": [{"start": 3, "end": 99, "type": "NAME"}]}', r"gold_spans\.jsonl:2: span 3–99 lies outside"),
        ("gold_spans", '{"id": "r9", "spans": []}', r"gold_spans\.jsonl:2: id 'r9' is no document"),
    ],
)  # fmt: skip
def test_a_malformed_line_of_a_user_is_named(tmp_path, file, line, expected):
    folder = _user_folder(tmp_path)
    with (folder / f"{file}.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=expected):
        read_user_sources(folder)
