"""Grounded questions retold about invented conditions, for training alone: their answers can only be read.

Where passages repeat what the corpus taught, a model learns to answer from memory. The names of diseases become invented
ones, and the facts asked for change into others of their kind, alike in passages, question and answer. Validation and
test speak of real conditions. Related: counterfactual passages, Longpre et al. 2021, arXiv:2109.05052.
"""

import dataclasses
import re
from collections.abc import Callable
from random import Random
from typing import Any

from components.cases.task import Draft
from components.cases.wording import capitalised
from components.cases.world import World

_STEMS = (
    "bal", "bri", "clo", "cor", "den", "dru", "fer", "gor", "hal", "jun", "kel", "lam", "mor", "nav", "pel", "quin", "ros", "sel", "tar",
    "vor", "wex", "yal", "zan",
)  # fmt: skip
_LINKS = ("a", "e", "i", "o", "an", "en", "or", "il")
_ENDINGS = ("dema", "itis", "lysis", "mia", "oma", "osis", "pathy", "ria")
_WORDS = ("disease", "disorder", "fever", "syndrome")


def retold(world: World, draft: Draft, random: Random) -> Draft:
    """Return the draft with diseases renamed and facts of the asked kind replaced; the right passage stays the right one."""
    facts = _Replacing(world.fact_finders[draft.reference["kind"]], _other_facts(world, draft, random))
    names = _Replacing(world.name_finder, lambda _: invented_name(random))

    def retell(text: str) -> str:
        return facts(names(text))

    reference: dict[str, Any] = draft.reference | {
        "facts": [[retell(wording) for wording in wordings] for wordings in draft.reference["facts"]],
        "wrong": sorted(retell(phrase) for phrase in draft.reference["wrong"]),
    }
    return dataclasses.replace(
        draft,
        fields={name: retell(text) for name, text in draft.fields.items()},
        answer=retell(draft.answer),
        reference=reference,
        passages=tuple(passage.model_copy(update={"text": retell(passage.text)}) for passage in draft.passages),
    )


def invented_name(random: Random) -> str:
    """Return the name of a condition that does not exist: one word (`balenosis`), or a proper name and a common one."""
    stem = random.choice(_STEMS) + random.choice(_LINKS) + random.choice(_STEMS)
    if random.random() < 0.6:
        return stem + random.choice(_ENDINGS)
    return f"{capitalised(stem)} {random.choice(_WORDS)}"


class _Replacing:
    """Replaces what a pattern finds, the same phrase by the same new one, with a capital where the old one had it."""

    def __init__(self, finder: re.Pattern[str], replacement: Callable[[str], str]) -> None:
        self.finder = finder
        self.replacement = replacement
        self.replaced: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        return self.finder.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        found = match.group(0)
        key = found.casefold()
        if key not in self.replaced:
            self.replaced[key] = self.replacement(key)
        return capitalised(self.replaced[key]) if found[0].isupper() else self.replaced[key]


def _other_facts(world: World, draft: Draft, random: Random) -> Callable[[str], str]:
    """Return a source of facts of the kind asked for, none twice and none that stands in the passages."""
    said = " ".join(passage.text for passage in draft.passages).casefold()
    pool = [fact for fact in world.pools[draft.reference["kind"]] if fact.casefold() not in said]
    random.shuffle(pool)
    return lambda _: pool.pop()
