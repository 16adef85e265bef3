"""The knowledge base as a graph: (subject, predicate, object) with the kind of thing at each end.

Diseases, drugs and tests stand as ids; everything else (symptoms, codes, departments …) as the phrase itself.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from components.knowledge_base.schema import Disease, Drug, KnowledgeBase, Test


class Triple(BaseModel):
    """One fact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    predicate: str
    object: str
    subject_type: str
    object_type: str

    @property
    def id(self) -> str:
        """What lineage calls it; also the id of its knowledge point."""
        return f"{self.predicate}:{self.subject}:{self.object}"


# predicate -> type of the object; "disease", "drug" and "test" objects are ids, all others phrases
OBJECT_TYPES = {
    "has_symptom": "symptom",
    "has_finding": "finding",
    "treated_with": "drug",
    "investigated_by": "test",
    "complicated_by": "complication",
    "risk_raised_by": "risk_factor",
    "coded_as": "icd10",
    "managed_by": "department",
    "belongs_to_class": "drug_class",
    "indicated_for": "disease",
    "contraindicated_in": "contraindication",
    "advice_in_child": "advice",
    "advice_in_pregnancy": "advice",
    "advice_in_elderly": "advice",
    "advice_in_renal": "advice",
    "interacts_with": "drug",
    "adult_dose": "dose",
    "shows": "result",
}


def triples(knowledge_base: KnowledgeBase) -> list[Triple]:
    """Return every fact of the knowledge base, in the order of its files."""
    facts: list[Triple] = []
    for disease in knowledge_base.diseases.values():
        facts.extend(_facts(disease.id, "disease", _disease_facts(disease)))
    for drug in knowledge_base.drugs.values():
        facts.extend(_facts(drug.id, "drug", _drug_facts(drug)))
    for test in knowledge_base.tests.values():
        facts.extend(_facts(test.id, "test", _test_facts(test)))
    return facts


def _facts(subject: str, subject_type: str, facts: Iterator[tuple[str, str]]) -> Iterator[Triple]:
    for predicate, value in facts:
        object_type = OBJECT_TYPES[predicate]
        yield Triple(
            subject=subject, predicate=predicate, object=value, subject_type=subject_type, object_type=object_type
        )


def _disease_facts(disease: Disease) -> Iterator[tuple[str, str]]:
    yield "coded_as", disease.icd10
    yield "managed_by", disease.department
    yield from (("has_symptom", value) for value in disease.symptoms)
    yield from (("has_finding", value) for value in disease.findings)
    yield from (("treated_with", value) for value in disease.first_line_drugs)
    yield from (("investigated_by", value) for value in disease.indicated_tests)
    yield from (("complicated_by", value) for value in disease.complications)
    yield from (("risk_raised_by", value) for value in disease.risk_factors)


def _drug_facts(drug: Drug) -> Iterator[tuple[str, str]]:
    yield "belongs_to_class", drug.drug_class
    yield from (("indicated_for", value) for value in drug.indications)
    yield from (("contraindicated_in", value) for value in drug.contraindications)
    for population, item in sorted(drug.special_populations.items()):
        yield f"advice_in_{population}", item.advice
    yield from (("interacts_with", item.with_drug) for item in drug.interactions)
    yield "adult_dose", drug.adult_dose.text


def _test_facts(test: Test) -> Iterator[tuple[str, str]]:
    yield from (("shows", value) for value in test.shows)
