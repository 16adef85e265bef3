"""Realisation reads back to its triple; coverage counts what the library says; synthesis closes the rest."""

import json
from pathlib import Path

import pytest

from components.documents import Document, read_jsonl, write_jsonl
from components.knowledge import knowledge_stage
from components.knowledge.coverage import Library, padded, summarise
from components.knowledge.points import knowledge_points
from components.knowledge.realisation import TEMPLATES, Names, Sentence, extract, realise
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.triples import OBJECT_TYPES, Triple, triples
from components.lineage import digest_folder

GOUT = [
    Triple(
        subject="gout", predicate="has_symptom", object="hot swollen toe", subject_type="disease", object_type="symptom"
    ),
    Triple(subject="gout", predicate="treated_with", object="colchicine", subject_type="disease", object_type="drug"),
    Triple(
        subject="colchicine", predicate="advice_in_renal", object="avoid", subject_type="drug", object_type="advice"
    ),
]


def _names(facts):
    return Names({"gout": "gout", "colchicine": "colchicine"}, facts)


def test_every_predicate_of_the_graph_has_two_wordings():
    assert set(TEMPLATES) == set(OBJECT_TYPES)
    assert all(len(texts) >= 2 for texts in TEMPLATES.values())


def test_a_sentence_reads_back_to_its_triple_and_no_other():
    sentences = [item for item in realise(GOUT, _names(GOUT), per_triple=2, seed=1) if isinstance(item, Sentence)]
    assert len(sentences) == 6
    for sentence in sentences:
        assert extract(sentence.text, _names(GOUT)) == {sentence.triple}


def test_a_sentence_that_means_two_facts_is_dropped():
    # "Zed can cause pain." would state both facts: two ids are written alike
    twins = [
        Triple(subject=name, predicate="has_symptom", object="pain", subject_type="disease", object_type="symptom")
        for name in ("zed_1", "zed_2")
    ]
    names = Names({"zed_1": "zed", "zed_2": "zed"}, twins)
    kept = [item for item in realise(twins, names, per_triple=1, seed=1) if isinstance(item, Sentence)]
    assert len(kept) == 1  # only the fact that the words are read as


def test_all_facts_of_the_shipped_knowledge_base_can_be_realised():
    knowledge_base = load_knowledge_base(Path(__file__).parents[2] / "data" / "knowledge_base")
    facts = triples(knowledge_base)
    entries = (*knowledge_base.diseases.values(), *knowledge_base.drugs.values(), *knowledge_base.tests.values())
    names = Names({entry.id: entry.name for entry in entries}, facts)
    realised = list(realise(facts[::10], names, per_triple=1, seed=4))
    assert sum(isinstance(item, Sentence) for item in realised) / len(realised) > 0.98


def test_coverage_wants_the_words_in_one_sentence():
    points = list(knowledge_points(GOUT, _names(GOUT)))
    apart = Document(id="a", type="textbook", text="Gout is old. A hot swollen toe hurts.", source="b", authority="B")
    together = Document(id="b", type="textbook", text="Gout brings a hot, swollen toe.", source="b", authority="B")
    symptom = next(point for point in points if point.id.startswith("has_symptom"))
    assert not Library([apart], ["gout", "colchicine"]).covers(symptom)
    assert Library([apart, together], ["gout", "colchicine"]).covers(symptom)


def test_advice_is_covered_in_any_of_its_wordings_but_not_without_the_population():
    point = next(point for point in knowledge_points(GOUT, _names(GOUT)) if point.id.startswith("advice"))
    library = Library([], ["gout", "colchicine"])
    library.add("Colchicine should be avoided.")
    assert not library.covers(point)
    library.add("In renal impairment, avoid colchicine: it builds up.")
    assert library.covers(point)


def test_grade_e_covers_nothing():
    text = "Gout is first treated with colchicine."
    point = next(point for point in knowledge_points(GOUT, _names(GOUT)) if point.id.startswith("treated_with"))
    for authority, expected in (("E", False), ("D", True)):
        library = Library(
            [Document(id="a", type="web", text=text, source="b", authority=authority)], ["gout", "colchicine"]
        )
        assert library.covers(point) is expected


def test_every_document_that_covers_a_point_is_named_once():
    point = next(point for point in knowledge_points(GOUT, _names(GOUT)) if point.id.startswith("treated_with"))
    texts = {"a": "Gout is treated with colchicine. Colchicine helps in gout.", "b": "Gout is old.", "c": "Colchicine is given for gout."}
    library = Library([Document(id=name, type="textbook", text=text, source="b", authority="B") for name, text in texts.items()], ["gout", "colchicine"])
    assert library.covering(point) == ["a", "c"]


def test_what_a_point_tells_is_named_by_its_triples():
    features = [("has_symptom", "cough"), ("has_symptom", "fever"), ("has_finding", "crackles")]
    facts = [Triple(subject=name, predicate=predicate, object=value, subject_type="disease", object_type="phrase") for name in ("croup", "cold") for predicate, value in features]
    facts += [Triple(subject="croup", predicate=predicate, object=value, subject_type="disease", object_type=kind) for predicate, value, kind in (("investigated_by", "xray", "test"), ("treated_with", "drug", "drug"))]
    names = Names({name: name for name in ("croup", "cold", "xray", "drug")}, facts)
    told = {point.id: point.triples for point in knowledge_points(facts, names)}
    assert set(told) >= {fact.id for fact in facts} and all(told[fact.id] == (fact.id,) for fact in facts)
    assert told["picture:cold"] == ("has_symptom:cold:cough", "has_symptom:cold:fever", "has_finding:cold:crackles")
    assert told["procedure:croup"] == ("investigated_by:croup:xray", "treated_with:croup:drug")
    assert told["distinction:croup:cold:cough"] == ("has_symptom:croup:cough", "has_symptom:cold:cough", "has_finding:croup:crackles")


def test_whole_words_are_compared():
    assert padded("ache") not in padded("headache")


def test_shares_are_counted_by_kind():
    points = list(knowledge_points(GOUT, _names(GOUT)))  # two factual, one procedural (advice)
    assert summarise(points, [True, False, True]) == {
        "all": {"points": 3, "covered": 2, "share": 0.6667},
        "factual": {"points": 2, "covered": 1, "share": 0.5},
        "procedural": {"points": 1, "covered": 1, "share": 1.0},
    }


@pytest.fixture
def project(tmp_path):
    write_jsonl(tmp_path / "artifacts" / "sources" / "triples.jsonl", GOUT)
    text = "Gout is first treated with colchicine. It is a disease of the joints."
    write_jsonl(
        tmp_path / "artifacts" / "curate" / "documents.jsonl",
        [Document(id="a", type="textbook", text=text, source="b", authority="B")],
    )
    return tmp_path


def test_the_stage_closes_the_gaps_it_finds_and_repeats_itself(project, stage_context):
    knowledge_stage.run(stage_context("knowledge", project))
    folder = project / "artifacts" / "knowledge"
    coverage = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
    assert coverage["library"]["all"] == {"points": 3, "covered": 1, "share": 0.3333}
    assert coverage["with_synthesis"]["all"]["share"] == 1.0
    assert list(read_jsonl(folder / "covering.jsonl")) == [{"point": "treated_with:gout:colchicine", "source_ids": ["a"]}]
    told = [row["triples"] for row in read_jsonl(folder / "sentences.jsonl") if row["template"] == "synthesis"]
    assert told == [["advice_in_renal:colchicine:avoid"], ["has_symptom:gout:hot swollen toe"]]
    digest = digest_folder(folder)
    knowledge_stage.run(stage_context("knowledge", project))
    assert digest_folder(folder) == digest
