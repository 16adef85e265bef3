"""One question, answered by a model from retrieved passages, with citations and their authority grades."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.generation.sampler import Sampler, SamplingOptions
from components.modeling.tokenizers import encode_prompt
from components.retrieval.index import RetrievalIndex, RetrievedPassage
from components.retrieval.prompts import cited_numbers, grounded_messages, relevant_extract

PASSAGE_WORDS = 40
THINK_CLOSE = "</think>"


@dataclass(frozen=True)
class Citation:
    """A passage that was shown, and whether the answer cites it."""

    number: int
    passage: RetrievedPassage
    is_cited: bool


@dataclass(frozen=True)
class Answer:
    """The answer's text without its reasoning, and every passage the model was shown."""

    text: str
    reasoning: str | None
    citations: tuple[Citation, ...]

    def lines(self) -> list[str]:
        """Return the answer and its sources as lines to print; cited ones are marked with *."""
        sources = []
        for citation in self.citations:
            passage = citation.passage
            mark = "*" if citation.is_cited else " "
            year = f", {passage.year}" if passage.year else ""
            sources.append(f"{mark}[{citation.number}] grade {passage.authority}{year}, {passage.document_id}: {passage.text}")
        return [self.text or "(no answer)", "", "Sources (* cited):", *sources]


def ask(
    question: str, index: RetrievalIndex, sampler: Sampler, tokenizer: object, *, passages: int = 3, max_new_tokens: int = 64, temperature: float = 0.0
) -> Answer:
    """Retrieve passages for a question and let the model answer from them.

    Passages are cut to the sentences nearest the question, as in training.
    """
    found = index.search(question, count=passages)
    shown = [shorten(passage, question) for passage in found]
    prompt = encode_prompt(tokenizer, grounded_messages(question, shown))
    options = SamplingOptions(max_new_tokens=max_new_tokens, samples=1, temperature=temperature, seed=0)
    text = sampler.generate([prompt], options)[0][0].text
    before, closing, final = text.rpartition(THINK_CLOSE)
    return Answer(
        text=final.strip(),
        reasoning=before.removeprefix("<think>").strip() if closing else None,
        citations=citations_of(final, shown),
    )


def shorten(passage: RetrievedPassage, question: str, *, words: int = PASSAGE_WORDS) -> RetrievedPassage:
    """Return the passage cut to the sentences nearest the question."""
    return RetrievedPassage(
        passage.document_id, relevant_extract(passage.text, question, words=words), passage.authority, passage.score, passage.year, passage.entities
    )


def citations_of(text: str, shown: Sequence[RetrievedPassage]) -> tuple[Citation, ...]:
    """Return every shown passage with its number and whether the text cites it."""
    cited = set(cited_numbers(text))
    return tuple(Citation(number, passage, number in cited) for number, passage in enumerate(shown, start=1))
