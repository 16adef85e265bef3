"""What is right to say about a disease to a patient: the knowledge base seen from one query.

A drug is unsuitable when the knowledge base advises the patient's population to avoid it, or lists the patient's
condition or allergy among its contraindications. A population with no safe first-line drug is rightly told which
first-line drugs to avoid, so those warnings become what the answer must cover.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.errors import DataError
from components.knowledge_base.schema import Disease, Drug, KnowledgeBase
from components.rewards.mentions import Kind

# Words of a reference's aspects → kind; spaces and underscores are the same, a plural s is optional.
ASPECTS: dict[str, Kind] = {
    "drug": "drug", "treatment": "drug", "first line drug": "drug",
    "test": "test", "indicated test": "test",
    "symptom": "symptom", "finding": "symptom",
    "complication": "complication", "risk factor": "risk_factor",
}  # fmt: skip


@dataclass(frozen=True)
class QueryFacts:
    """The facts a query's answer is judged by."""

    kb: KnowledgeBase
    disease: Disease
    aspects: tuple[Kind, ...]
    populations: tuple[str, ...]

    @cached_property
    def contraindicated(self) -> frozenset[str]:
        """Ids of the drugs this patient must not get."""
        if not self.populations:
            return frozenset()
        return frozenset(drug.id for drug in self.kb.drugs.values() if is_contraindicated(drug, self.populations))

    @cached_property
    def indicated_drugs(self) -> frozenset[str]:
        """Ids of the safe drugs with this indication, first-line or not."""
        other = (drug.id for drug in self.kb.drugs.values() if self.disease.id in drug.indications)
        return frozenset((*self.disease.first_line_drugs, *other)) - self.contraindicated

    @cached_property
    def first_line(self) -> frozenset[str]:
        """Ids of the safe first-line drugs."""
        return frozenset(self.disease.first_line_drugs) - self.contraindicated

    @cached_property
    def warnings(self) -> frozenset[str]:
        """Ids of the first-line drugs to be warned of, where no drug is left to give."""
        return frozenset(self.disease.first_line_drugs) if not self.indicated_drugs else frozenset()

    def right(self, kind: Kind) -> frozenset[str]:
        """Return the ids or phrases of a kind that are true of the disease and fit the patient."""
        disease = self.disease
        if kind == "drug":
            return self.indicated_drugs
        phrases: dict[Kind, Iterable[str]] = {
            "test": disease.indicated_tests,
            "symptom": (*disease.symptoms, *disease.findings),
            "complication": disease.complications,
            "risk_factor": disease.risk_factors,
            "disease": (disease.id,),
        }
        return frozenset(item.lower() for item in phrases.get(kind, ()))

    def best(self, kind: Kind) -> frozenset[str]:
        """Return the items of a kind that earn full credit: for drugs the first-line ones, where any is safe."""
        return (self.first_line or self.indicated_drugs) if kind == "drug" else self.right(kind)


def query_facts(kb: KnowledgeBase, reference: Mapping[str, Any], *, case_id: str) -> QueryFacts:
    """Return the facts for a preference case's reference {"disease", "aspects", "population"}.

    Raises:
        DataError: the disease or an aspect is unknown.
    """
    disease = kb.diseases.get(str(reference.get("disease")))
    if disease is None:
        raise DataError(f"case {case_id}: reference.disease {reference.get('disease')!r} is not in the knowledge base; make the cases anew")
    aspects = []
    for name in reference.get("aspects", ()):
        kind = ASPECTS.get(str(name).replace("_", " ").lower().removesuffix("s"))
        if kind is None:
            raise DataError(f"case {case_id}: unknown aspect {name!r}; known: {', '.join(ASPECTS)}")
        aspects.append(kind)
    return QueryFacts(kb=kb, disease=disease, aspects=tuple(dict.fromkeys(aspects)), populations=_populations(reference.get("population")))


def is_contraindicated(drug: Drug, populations: Iterable[str]) -> bool:
    """Say whether a drug must not be given to a patient of these populations, conditions or allergies."""
    phrases = {phrase.lower() for phrase in drug.contraindications}
    for population in populations:
        advice = drug.special_populations.get(population)
        if (advice is not None and advice.advice == "avoid") or population.lower() in phrases:
            return True
    return False


def _populations(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else tuple(value)
    return tuple(name for name in names if name and name not in ("adult", "any"))
