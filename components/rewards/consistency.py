"""The consistency reward: does the final answer follow from the reasoning before it? (report §3.4)

Truth is not judged, only agreement: a disease named in the reasoning must be the one whose code or name is answered,
and the drugs and tests the reasoning settles on must be those of the answer. The report trains a model for this; here
both parts name knowledge-base entities, so reading them is exact.

    no reasoning                                  1   (nothing to disagree with; the format reward asks for reasoning)
    no answer after the reasoning                 0
    reasoning that names no entity                0.5
    else                                          share of the reasoning's conclusions that the answer keeps
"""

import re

from components.knowledge_base.schema import KnowledgeBase
from components.rewards.answer_parsing import split_reasoning
from components.rewards.mentions import Mention, MentionFinder

UNDECIDED = 0.5
CODE = re.compile(r"\b[A-TV-Z]\d{2}(?:\.\d{1,2})?\b")


class ConsistencyScorer:
    """Reads entities of one knowledge base; thousands of answers a second."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._finder = MentionFinder(kb)
        self._diseases: dict[str, set[str]] = {}
        for disease in kb.diseases.values():
            self._diseases.setdefault(disease.icd10.upper(), set()).add(disease.id)

    def score(self, text: str) -> float:
        """Return the agreement of reasoning and answer, 0..1."""
        reasoning, final = split_reasoning(text)
        if reasoning is None:
            return 1.0
        if not final:
            return 0.0
        return self._agreement(reasoning, final)

    def _agreement(self, reasoning: str, final: str) -> float:
        before, after = self._finder.find(reasoning), self._finder.find(final)
        if codes := CODE.findall(final):
            named = _keys(before, "disease")
            answered = set().union(*(self._diseases.get(code, set()) for code in codes))
            return float(bool(named & answered)) if named else UNDECIDED
        things = _conclusions(before)
        if not things:
            return UNDECIDED
        return len(things & _conclusions(after)) / len(things)


def _conclusions(mentions: list[Mention]) -> set[tuple[str, str]]:
    """Return the drugs and tests stated, and the drugs warned of, as (role, id)."""
    found = set()
    for mention in mentions:
        found |= {("warned" if mention.is_negated else "drug", key) for key in mention.keys("drug")}
        if not mention.is_negated:
            found |= {("test", key) for key in mention.keys("test")}
    return found


def _keys(mentions: list[Mention], kind: str) -> set[str]:
    return {key for mention in mentions if not mention.is_negated for key in mention.keys(kind)}  # type: ignore[arg-type]
