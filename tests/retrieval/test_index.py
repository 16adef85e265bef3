"""The index end to end with the real embedding model, and prompts."""

import os
import subprocess
import sys

import pytest

from components.documents import Document
from components.errors import DataError
from components.retrieval.embedding import load_embedder
from components.retrieval.index import RetrievalIndex, words_of
from components.retrieval.prompts import cited_numbers, grounded_messages, relevant_extract
from components.retrieval.recall import recall_at
from components.settings.data import IndexSettings

TEXTS = {
    "asthma": "Asthma is treated with inhaled salbutamol. Spirometry shows reversible obstruction.",
    "gout": "Gout is a painful swelling of the big toe from uric acid crystals. Allopurinol prevents attacks.",
    "migraine": "Migraine is a throbbing one-sided headache with nausea. Sumatriptan helps early on.",
    "eczema": "Eczema makes the skin dry and itchy. Emollients are used every day.",
}


def documents() -> list[Document]:
    return [
        Document(id=f"d-{name}", type="textbook", title=name, text=text, source="book", year=2020, authority="A", entities=(name,))
        for name, text in TEXTS.items()
    ]


@pytest.fixture(scope="module")
def index() -> RetrievalIndex:
    return RetrievalIndex.build(documents(), IndexSettings(), embedder=load_embedder())


def test_a_query_finds_its_passage_by_word_or_by_meaning(index):
    assert index.search("uric acid crystals", count=1)[0].document_id == "d-gout"
    # no content word of this query stands in the text: only meaning finds it
    assert index.search("difficulty breathing inhaler", count=1)[0].document_id == "d-asthma"


def test_a_saved_index_answers_as_the_built_one_and_holds_no_pickle(index, tmp_path):
    index.save(tmp_path / "index")
    loaded = RetrievalIndex.load(tmp_path / "index")
    queries = ["itchy skin", "headache with nausea"]
    assert loaded.search_many(queries, count=3) == index.search_many(queries, count=3)
    assert {path.suffix for path in (tmp_path / "index").rglob("*") if path.is_file()} <= {".json", ".jsonl", ".npy"}


def test_batched_queries_equal_single_ones(index):
    queries = ["gout", "what helps a throbbing headache in the morning", "skin"]
    ids = [[passage.document_id for passage in found] for found in index.search_many(queries, count=4)]
    assert ids == [[passage.document_id for passage in index.search(query, count=4)] for query in queries]


def test_a_graded_passage_is_found_before_the_same_text_of_low_authority():
    pair = [
        Document(id=name, type="web", text=TEXTS["gout"], source="s", year=2020, authority=grade, entities=("gout",))
        for name, grade in (("low", "E"), ("high", "A"))
    ]
    index = RetrievalIndex.build(pair, IndexSettings(), embedder=load_embedder())
    assert [passage.document_id for passage in index.search("gout", count=2)] == ["high", "low"]


def test_recall_counts_queries_whose_entity_is_found(index):
    # the third query's entity is in no passage: left out
    values = recall_at(index, ["gout toe", "asthma salbutamol", "plague"], [["gout"], ["asthma"], ["plague"]], counts=(1,))
    assert values == {"recall_at_1": 1.0, "mean_reciprocal_rank": 1.0, "queries": 2.0}


def test_the_word_index_is_the_same_bytes_in_every_process(tmp_path):
    # words numbered in the order of a Python set would differ with the process's hash seed
    script = """
import sys, numpy as np
from pathlib import Path
from components.documents import Document
from components.lineage import digest_folder
from components.retrieval.index import RetrievalIndex
from components.settings.data import IndexSettings

class Constant:
    def embed(self, texts, progress=None):
        return np.ones((len(texts), 384), dtype=np.float32)

texts = ["alpha beta gamma delta", "epsilon zeta eta theta iota kappa"]
documents = [Document(id=str(n), type="textbook", text=text, source="s", authority="A") for n, text in enumerate(texts)]
RetrievalIndex.build(documents, IndexSettings(), embedder=Constant()).save(Path(sys.argv[1]))
print(digest_folder(Path(sys.argv[1])))
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / seed)], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_nothing_to_index_is_an_error():
    with pytest.raises(DataError, match="nothing to retrieve"):
        RetrievalIndex.build([], IndexSettings(), embedder=load_embedder())


def test_words_of_folds_case_and_plurals_and_splits_chinese():
    assert words_of("Wheezes, 哮喘 CT loss") == ["wheeze", "哮", "喘", "ct", "loss"]


def test_prompt_shows_numbered_graded_passages_and_citations_are_read_back(index):
    passages = index.search("gout", count=2)
    content = grounded_messages("What is gout?", passages)[0].content
    assert content.splitlines()[0].startswith("[1] (A) Gout is")
    assert content.endswith("What is gout?")
    assert cited_numbers("Toe [2], crystals [1][2].") == [2, 1]


def test_extract_keeps_the_sentences_nearest_the_query_within_the_limit():
    text = "Cats purr. Gout hurts the toe. Dogs bark. Gout crystals are uric acid."
    assert relevant_extract(text, "gout crystals", words=9) == "Gout hurts the toe. Gout crystals are uric acid."
