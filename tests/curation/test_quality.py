"""Filters, grades, duplicates, contradictions and the leak scan: what is kept, what is dropped, and why."""

import random

import pytest

from components.curation.authority import grade
from components.curation.contradictions import Claim, find_contradictions, read_claims
from components.curation.duplicates import exact_repeats, near_repeats
from components.curation.filters import first_objection
from components.curation.leak_scan import leaks, refuse_leaks
from components.curation.normalisation import align_characters, clean_text, shingle_words
from components.documents import Document
from components.errors import DataError
from components.settings.data import CurateSettings

SETTINGS = CurateSettings()
WORDS = (
    "fever",
    "cough",
    "patient",
    "treatment",
    "dose",
    "blood",
    "kidney",
    "test",
    "result",
    "pain",
    "drug",
    "care",
    "sign",
    "heart",
    "lung",
)


def _document(identifier: str, text: str, **values) -> Document:
    return Document(id=identifier, text=text, **{"type": "textbook", "source": "book", "authority": "B"} | values)


def _prose(seed: int, count: int = 120) -> str:
    generator = random.Random(seed)
    return " ".join(generator.choice(WORDS) for _ in range(count))


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("Asthma is treated early.", {}, "too_short"),
        ("#@§ ||& " * 20 + "the patient has a fever today and needs a test soon", {}, "symbols"),
        ("The patient has a fever and a cough.\n" * 5, {}, "repeated_lines"),
        ("Accept all cookies. Click here. The patient takes the drug in the morning and at night.", {}, "boilerplate"),
        ("The visitors took the cup home on a rainy evening after two late goals in the second half.", {}, "off_topic"),
        ("Le patient prend le comprimé tous les matins avec un verre d'eau après le repas.", {"language": "fr"}, "language"),
        ("The patient takes the tablet every morning with a glass of water after breakfast.", {}, None),
    ],
)  # fmt: skip
def test_each_filter_drops_its_own_kind(text, values, expected):
    objection = first_objection(_document("d", text, **values), SETTINGS)
    assert (objection and objection[0]) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": "guideline", "year": 2020}, "A"),
        ({"type": "guideline", "year": 2008}, "B"),  # 2025 − 2008 = 17 years, outdated
        ({"type": "abstract", "impact": 21.4}, "A"),  # at least 2 × 10
        ({"type": "abstract", "impact": 12.0}, "B"),
        ({"type": "abstract", "impact": 5.0}, "C"),
        ({"type": "abstract", "impact": 1.3}, "D"),
        ({"type": "textbook", "year": 1990}, "B"),  # textbooks do not age by this rule
        ({"type": "web", "source": "crawled page"}, "E"),
    ],
)  # fmt: skip
def test_grades_follow_type_impact_age_and_source(values, expected):
    document = _document("d", "text", **values)
    assert grade(document, newest_year=2025, high_impact=10.0, low_impact=3.0, outdated_years=12) == expected


def test_exact_repeats_ignore_case_and_spacing_and_keep_the_better_grade():
    documents = [_document("a", "Fever and  cough", authority="C"), _document("b", "fever and cough.", authority="A")]
    assert [(item.id, item.of) for item in exact_repeats(documents)] == [("a", "b")]


def test_near_repeats_agree_with_a_brute_force_comparison():
    originals = [_prose(seed) for seed in range(6)]
    generator = random.Random(5)
    texts = list(originals)
    for edits in (1, 4, 5):  # the last two stay below the threshold, yet often share a band
        for text in originals:
            words = text.split()
            for place in generator.sample(range(len(words)), edits):
                words[place] = f"changed{edits}"
            texts.append(" ".join(words))
    documents = [_document(f"d{number:02d}", text) for number, text in enumerate(texts)]

    def jaccard(first: str, second: str) -> float:
        grams = [
            {tuple(words[place : place + 5]) for place in range(len(words) - 4)}
            for words in (first.split(), second.split())
        ]
        return len(grams[0] & grams[1]) / len(grams[0] | grams[1])

    similarities = {
        (f"d{later:02d}", f"d{earlier:02d}"): jaccard(texts[earlier], texts[later])
        for later in range(len(texts)) for earlier in range(later)
    }  # fmt: skip
    found = {(item.id, item.of) for item in near_repeats(documents, similarity=0.7, bands=14, rows=8)}
    # nothing below the threshold is dropped; at .9 a pair shares a band with probability 1 − (1 − .9⁸)¹⁴ = .9996
    assert found <= {pair for pair, similarity in similarities.items() if similarity >= 0.7}
    assert found >= {(f"d{number + 6:02d}", f"d{number:02d}") for number in range(6)}


def test_repeats_do_not_depend_on_the_order_of_documents():
    documents = [_document(f"d{number}", _prose(number // 2) + (" end" if number % 2 else "")) for number in range(8)]
    shuffled = random.Random(2).sample(documents, len(documents))
    first, second = (near_repeats(items, similarity=0.7, bands=14, rows=8) for items in (documents, shuffled))
    assert sorted(first) == sorted(second)
    assert len(first) == 4


def test_claims_are_read_from_several_wordings():
    text = (
        "The ICD-10 code of gout is M10.9. Gout is first treated with colchicine, naproxen or ibuprofen.\n"
        "Do not give naproxen in peptic ulcer or heart failure. Naproxen must not be used for gout."
    )
    assert set(read_claims(text)) == {
        Claim("code", "gout", "M10.9", True), Claim("treats", "colchicine", "gout", True), Claim("treats", "naproxen", "gout", True),
        Claim("treats", "ibuprofen", "gout", True), Claim("contraindicated", "naproxen", "peptic ulcer", True),
        Claim("contraindicated", "naproxen", "heart failure", True), Claim("treats", "naproxen", "gout", False),
    }  # fmt: skip


def test_only_the_lower_grade_is_contradicted():
    documents = [
        _document("good", "The ICD-10 code of gout is M10.9.", authority="A"),
        _document("bad", "Gout is coded as J45.9.", authority="D"),
        _document("alone", "Asthma is coded as J45.9.", authority="D"),
    ]
    assert [(item.id, item.denied_by) for item in find_contradictions(documents)] == [("bad", "good")]


def test_equal_grades_do_not_judge_each_other():
    documents = [
        _document("a", "Gout is coded as M10.9.", authority="D"),
        _document("b", "Gout is coded as J45.9.", authority="D"),
    ]
    assert find_contradictions(documents) == []


@pytest.mark.parametrize(
    "text",
    [
        "call 555-123-4567",
        "a@b.org",
        "see www.x.org",
        "number 12345678",
        "on 2020-01-02",
        "a 95-year-old",
        "139 1234 5678",
    ],
)
def test_the_leak_scan_refuses_forms_of_identifiers_without_showing_them(text):
    with pytest.raises(DataError) as caught:
        refuse_leaks([_document("doc-7", text)])
    assert "doc-7" in str(caught.value)
    assert text not in str(caught.value)


def test_the_leak_scan_lets_medical_numbers_pass():
    assert (
        leaks("Give 250 to 1000 mg every 8 hours to adults of 18 to 90 years; J18.9; in 1706 patients, 2010; [DATE-1]")
        == []
    )


def test_alignment_never_moves_an_offset():
    text = "Ｍｒ．\u00a0Smith’s “note” １２３ — 王"
    assert len(align_characters(text)) == len(text)
    assert 'Smith\'s "note" 123' in align_characters(text)


def test_cleaning_is_idempotent_and_removes_the_invisible():
    text = "a\u200bb \t c\r\n\r\n\x07d "
    assert clean_text(text) == "ab c\nd"
    assert clean_text(clean_text(text)) == clean_text(text)


def test_chinese_is_shingled_by_character_and_surrogates_do_not_count():
    assert shingle_words("急性支气管炎") == list("急性支气管炎")
    assert shingle_words("Seen by [NAME-1] at night") == ["seen", "by", "at", "night"]
