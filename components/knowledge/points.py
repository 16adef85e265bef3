"""Knowledge points: what a medical library should cover, by kind (report, §2.1: factual, conceptual, procedural).

Factual: one triple. Conceptual: how things hang together (the picture of a disease, a drug's class, what tells two
diseases apart that share a symptom). Procedural: what to do (investigate and treat, dose, adjust for a population).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.knowledge.realisation import POPULATIONS, TEMPLATES, Names, write
from components.knowledge_base.triples import Triple

PROCEDURAL_PREDICATES = ("adult_dose", "advice_in_child", "advice_in_pregnancy", "advice_in_elderly", "advice_in_renal")
CONCEPTUAL_PREDICATES = ("belongs_to_class", "managed_by", "coded_as")
PICTURED = 6  # features that the picture of a disease names


class KnowledgePoint(BaseModel):
    """One thing to know, and which words a text must bring together to cover it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Literal["factual", "conceptual", "procedural"]
    entity: str = Field(description="id of the entity it is about")
    text: str
    subject: str = Field(description="name that must stand in the text")
    terms: tuple[str, ...] = Field(description="phrases of which `minimum` must stand beside it")
    minimum: int = Field(ge=1)
    scope: Literal["sentence", "document"] = "sentence"
    triples: tuple[str, ...] = Field(description="ids of the triples its text tells")


def knowledge_points(facts: Sequence[Triple], names: Names) -> Iterator[KnowledgePoint]:
    """Yield every point of the graph, in a stable order."""
    grouped: dict[str, dict[str, list[Triple]]] = {}
    for fact in facts:
        grouped.setdefault(fact.subject, {}).setdefault(fact.predicate, []).append(fact)
        yield _single(fact, names)
    for subject, by_predicate in grouped.items():
        yield from _pictures(subject, by_predicate, names)
        yield from _procedures(subject, by_predicate, names)
    yield from _distinctions(grouped, names)


def _single(fact: Triple, names: Names) -> KnowledgePoint:
    kind = (
        "procedural"
        if fact.predicate in PROCEDURAL_PREDICATES
        else "conceptual"
        if fact.predicate in CONCEPTUAL_PREDICATES
        else "factual"
    )
    templates = TEMPLATES.get(fact.predicate)
    words = names.object_words(fact)
    subject = names.of(fact.subject)
    text = (
        write(templates[0], subject, words) if templates else f"{subject}: {fact.predicate.replace('_', ' ')} {words}."
    )
    population = fact.predicate.removeprefix("advice_in_")
    return KnowledgePoint(
        id=fact.id, kind=kind, entity=fact.subject, text=text, subject=subject, triples=(fact.id,),
        terms=_advice_terms(fact.object, population) if fact.object_type == "advice" else (words,),
        minimum=2 if fact.object_type == "advice" else 1,
    )  # fmt: skip


def _advice_terms(advice: str, population: str) -> tuple[str, ...]:
    """The population and any word for the advice: `allowed` may read "is allowed" or "may be given"."""
    words = {"allowed": "allowed|may be given", "caution": "caution", "avoid": "avoid|avoided"}[advice]
    return (POPULATIONS.get(population, population), words)


def _pictures(subject: str, facts: Mapping[str, list[Triple]], names: Names) -> Iterator[KnowledgePoint]:
    shown = [fact for predicate in ("has_symptom", "has_finding") for fact in facts.get(predicate, ())]
    features = [fact.object for fact in shown]
    if len(features) >= 3:
        name = names.of(subject)
        yield KnowledgePoint(
            id=f"picture:{subject}", kind="conceptual", entity=subject, subject=name, terms=tuple(features), minimum=3,
            text=f"The picture of {name} is made of {', '.join(features[:PICTURED])}.", triples=tuple(fact.id for fact in shown[:PICTURED]),
        )  # fmt: skip


def _procedures(subject: str, facts: Mapping[str, list[Triple]], names: Names) -> Iterator[KnowledgePoint]:
    tests = [names.of(fact.object) for fact in facts.get("investigated_by", ())]
    drugs = [names.of(fact.object) for fact in facts.get("treated_with", ())]
    if tests and drugs:
        name = names.of(subject)
        told = [fact.id for predicate in ("investigated_by", "treated_with") for fact in facts[predicate]]
        yield KnowledgePoint(
            id=f"procedure:{subject}", kind="procedural", entity=subject, subject=name, terms=(*tests, *drugs), minimum=min(3, len(tests)) + 1,
            scope="document", triples=tuple(told), text=f"When {name} is suspected, check {', '.join(tests)}; then begin with {' or '.join(drugs)}.",
        )  # fmt: skip


def _distinctions(grouped: Mapping[str, Mapping[str, list[Triple]]], names: Names) -> Iterator[KnowledgePoint]:
    """Two diseases that share a symptom: the sentence that says what each has of its own."""
    by_symptom: dict[str, list[Triple]] = {}
    for facts in grouped.values():
        for fact in facts.get("has_symptom", ()):
            by_symptom.setdefault(fact.object, []).append(fact)
    for symptom, shared in sorted(by_symptom.items()):
        for one, other in pairwise(shared):
            first, second = one.subject, other.subject
            own = grouped[first].get("has_finding", [])[:1]
            if own:
                yield KnowledgePoint(
                    id=f"distinction:{first}:{second}:{symptom}", kind="conceptual", entity=first, subject=names.of(first),
                    terms=(names.of(second), symptom), minimum=2, triples=(one.id, other.id, own[0].id),
                    text=f"Both {names.of(first)} and {names.of(second)} may bring {symptom}, but {own[0].object} points to {names.of(first)}.",
                )  # fmt: skip
