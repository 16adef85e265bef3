"""Which ids a row carries, of the rows the stages really write."""

from components import layout
from components.answers.best_of_n import Query
from components.answers.review import review_row
from components.cases.case import Case
from components.conversations import Message, PreferencePair
from components.instructions.sampling import sample_of
from components.lineage import digest_value
from components.provenance.row_ids import REVIEW_LINES, Link, row_links

CASE = Case(
    id="grounded-1", split="train", suite="grounded", task="grounded_answer", group="g", cluster="asthma", entities=("asthma",), combination="c", template="t",
    messages=(Message(role="user", content="?"),), answer="a", verifier="grounded", source_ids=("book-1",), record_ids=("patient-9",),
    passages=({"document_id": "book-3", "text": "secret words", "authority": "A", "is_relevant": True},),
)  # fmt: skip


def links(path, row, number=1):
    return set(row_links(path, row, number))


def test_a_case_carries_its_sources_records_and_the_documents_it_shows():
    assert links(layout.TRAIN_CASES, CASE.model_dump(mode="json")) == {
        Link("grounded-1", "own", ""), Link("book-1", "source", "grounded-1"), Link("patient-9", "record", "grounded-1"), Link("book-3", "document", "grounded-1"),
    }  # fmt: skip


def test_a_sample_carries_its_case_too():
    found = links(layout.SAMPLES, sample_of(CASE).model_dump(mode="json"))
    assert Link("grounded-1", "case", "instruction-grounded-1") in found and Link("patient-9", "record", "instruction-grounded-1") in found


def test_the_case_of_a_preference_pair_is_read_from_its_id():
    identifier = f"case-with-dashes-honesty-{digest_value(['a', 'b'])[:12]}"  # as components/rewards/labelling.py makes it
    pair = PreferencePair(id=identifier, dimension="honesty", messages=(), chosen="a", rejected="b")
    assert Link("case-with-dashes", "case", identifier) in links(layout.REWARD_PAIRS, pair.model_dump(mode="json"))
    assert links(layout.REWARD_PAIRS, {"id": "odd", "dimension": "honesty"}) == {Link("odd", "own", "")}


def test_a_sentence_leads_to_its_triple_and_a_synthesised_one_to_all_it_tells():
    row = {"subject": "croup", "predicate": "treated_with", "object": "dexamethasone"}
    assert links(layout.TRIPLES, row) == {Link("treated_with:croup:dexamethasone", "own", "")}
    sentence = {"text": "…", "triple": ["croup", "treated_with", "dexamethasone"]}
    assert links(layout.SENTENCES, sentence, 7) == {Link("treated_with:croup:dexamethasone", "triple", "line 7")}
    assert links(layout.SENTENCES, {"text": "…", "triple": ["croup"], "template": "synthesis"}, 8) == set()  # as they were once
    synthesised = {"text": "…", "triple": ["croup"], "template": "synthesis", "triples": ["treated_with:croup:dexamethasone"]}
    assert links(layout.SENTENCES, synthesised, 9) == {Link("treated_with:croup:dexamethasone", "triple", "line 9")}


def test_a_document_that_is_its_own_source_is_named_once_but_its_record_always():
    row = {"id": "visit-7", "source_ids": ["visit-7", "visit-9"], "record_ids": ["visit-7"]}
    assert links(layout.DOCUMENTS, row) == {Link("visit-7", "own", ""), Link("visit-9", "source", "visit-7"), Link("visit-7", "record", "visit-7")}


def test_a_line_of_the_experts_sheet_leads_to_its_case_and_the_documents_shown():
    query = Query(CASE, (), None)
    row = review_row(query, "answer", passages=["[1] (A) text"], documents=[passage.document_id for passage in CASE.passages], key_points=[])
    assert links(REVIEW_LINES, row, 3) == {Link("grounded-1", "case", "line 3"), Link("book-3", "document", "line 3")}
    assert links(layout.DOCUMENTS, {"id": "a", "documents": ["b"]}) == {Link("a", "own", "")}


def test_a_rejection_names_the_filter_and_no_text():
    row = {"id": "advert-1", "filter": "boilerplate", "reason": "5 stock phrases"}
    assert links(layout.REJECTIONS, row) == {Link("advert-1", "rejected", "boilerplate")}


def test_documents_that_cover_a_point_or_keep_a_question_out_are_named_and_the_point_is_not_followed():
    covering = {"point": "treated_with:croup:dexamethasone", "source_ids": ["book-1", "visit-7"]}
    assert links(layout.COVERING, covering, 2) == {Link("book-1", "source", "line 2"), Link("visit-7", "source", "line 2")}
    kept = {"id": "reserved-0a1b2c3d4e5f", "why": "record", "source_ids": ["visit-7"], "split": "test", "case_ids": ["case-1"]}
    assert links(layout.KEPT_OUT, kept) == {Link("reserved-0a1b2c3d4e5f", "own", ""), Link("visit-7", "source", "reserved-0a1b2c3d4e5f")}


def test_no_text_is_ever_a_link():
    found = links(layout.TRAIN_CASES, CASE.model_dump(mode="json"))
    assert not any("secret" in part for link in found for part in link)
