"""What users ask: short queries about the diseases and drugs of the knowledge base, by kind."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from components.curation.raw_sources.seeds import named_generator
from components.knowledge_base.schema import KnowledgeBase


class Query(BaseModel):
    """One user query."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    kind: str
    entities: tuple[str, ...]


DISEASE_WORDINGS = {
    "treatment": ("how is {disease} treated", "what medicine helps with {disease}", "best drug for {disease}?"),
    "tests": (
        "which tests do I need for {disease}",
        "how do doctors check for {disease}",
        "what tests confirm {disease}?",
    ),
    "symptoms": ("what are the signs of {disease}", "how do I know if I have {disease}", "symptoms of {disease}?"),
    "prevention": ("how can I avoid {disease}", "what makes {disease} more likely", "am I at risk of {disease}?"),
    "complications": ("can {disease} become dangerous", "what happens if {disease} is not treated"),
}
DRUG_WORDINGS = {
    "safety_pregnancy": ("is {drug} safe in pregnancy", "can I take {drug} while pregnant?"),
    "safety_child": ("can my child take {drug}", "is {drug} all right for children?"),
    "safety_elderly": ("is {drug} safe for my grandmother", "{drug} in old age, anything to watch?"),
    "safety_renal": ("can I take {drug} with weak kidneys", "is {drug} all right in kidney disease?"),
}


def write_queries(knowledge_base: KnowledgeBase, *, seed: int, count: int) -> Iterator[Query]:
    """Yield `count` different queries at most, drawn from all (kind, entity, wording) combinations."""
    pool = [
        (kind, disease.id, (disease.id,), wording.format(disease=disease.name))
        for disease in knowledge_base.diseases.values()
        for kind, wordings in DISEASE_WORDINGS.items()
        for wording in wordings
    ]
    pool += [
        (kind, drug.id, (drug.id, *drug.indications[:1]), wording.format(drug=drug.name))
        for drug in knowledge_base.drugs.values()
        for kind, wordings in DRUG_WORDINGS.items()
        for wording in wordings
    ]
    chosen = named_generator(seed, "queries").sample(pool, min(count, len(pool)))
    for number, (kind, _, entities, text) in enumerate(chosen):
        yield Query(id=f"query-{number:05d}", text=text, kind=kind, entities=entities)
