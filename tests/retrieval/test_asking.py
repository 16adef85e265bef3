"""Asking: what the model is shown, what it cites, and what a person sees."""

import pytest

from components.documents import Document
from components.generation.scripted_sampler import ScriptedSampler
from components.modeling.tokenizers import encode_prompt, train_tokenizer
from components.retrieval.asking import ask, shorten
from components.retrieval.embedding import load_embedder
from components.retrieval.index import RetrievalIndex
from components.retrieval.prompts import grounded_messages
from components.settings.data import IndexSettings

QUESTION = "How is gout treated?"


@pytest.fixture(scope="module")
def index() -> RetrievalIndex:
    texts = {"gout": "Gout is treated with colchicine.", "asthma": "Asthma is treated with salbutamol."}
    documents = [
        Document(id=f"d-{name}", type="guideline", text=text, source="s", year=2021, authority="B", entities=(name,)) for name, text in texts.items()
    ]
    return RetrievalIndex.build(documents, IndexSettings(), embedder=load_embedder())


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Gout is treated with colchicine."] * 3, vocabulary=300)


def test_the_answer_comes_without_its_reasoning_and_marks_the_passages_it_cites(index, tokenizer):
    sampler = ScriptedSampler([["<think>gout</think>Gout is treated with colchicine [1]."]])
    answer = ask(QUESTION, index, sampler, tokenizer, passages=2)
    assert (answer.text, answer.reasoning) == ("Gout is treated with colchicine [1].", "gout")
    assert [(citation.number, citation.passage.document_id, citation.is_cited) for citation in answer.citations] == [(1, "d-gout", True), (2, "d-asthma", False)]
    assert "*[1] grade B, 2021, d-gout: Gout is treated with colchicine." in answer.lines()


def test_the_model_is_shown_the_passages_found_in_the_form_it_was_tuned_on(index, tokenizer):
    sampler = ScriptedSampler([["x"]])
    answer = ask(QUESTION, index, sampler, tokenizer, passages=2)
    shown = [shorten(citation.passage, QUESTION) for citation in answer.citations]
    assert sampler.seen == [tuple(encode_prompt(tokenizer, grounded_messages(QUESTION, shown)))]


def test_passages_are_listed_even_where_the_model_cites_none(index, tokenizer):
    answer = ask(QUESTION, index, ScriptedSampler([[""]]), tokenizer, passages=1)
    assert [citation.is_cited for citation in answer.citations] == [False]
    assert answer.lines()[0] == "(no answer)"
