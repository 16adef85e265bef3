"""One document of each type about one disease: textbook, guideline, encyclopedia, abstract, pathway, drug insert.

A type is a list of fact kinds in the order its genre has them, with a heading or opening of its own.
"""

from collections.abc import Callable, Iterator

from components.curation.raw_sources.seeds import named_generator
from components.curation.raw_sources.sentences import FactWriter, capitalised
from components.documents import Document
from components.knowledge_base.schema import Disease, Drug, KnowledgeBase

# The types a disease's documents take in turn; a longer list begins again, with other phrasings.
ROTATION = (
    "textbook", "guideline", "drug_insert", "encyclopedia", "abstract", "pathway",
    "textbook", "encyclopedia", "drug_insert", "guideline", "textbook", "abstract",
)  # fmt: skip
PUBLISHERS = {
    "textbook": ("Principles of Clinical Medicine", "Bedside Medicine Review", "Handbook of Common Diseases"),
    "guideline": ("National Guideline Board", "College of Physicians Panel", "Society Consensus Group"),
    "drug_insert": ("Medicines Register",),
    "encyclopedia": ("Open Health Encyclopedia", "Family Health Lexicon"),
    "abstract": ("Journal of Internal Practice", "Annals of Ward Medicine", "Regional Medical Letters"),
    "pathway": ("Hospital Pathway Collection",),
}
IMPACT_FACTORS = {"Journal of Internal Practice": 21.4, "Annals of Ward Medicine": 7.2, "Regional Medical Letters": 1.3}
YEARS = (2009, 2025)


def write_documents(knowledge_base: KnowledgeBase, *, seed: int, per_disease: int) -> Iterator[Document]:
    """Yield `per_disease` documents about every disease; drug inserts go round all drugs of the knowledge base."""
    drugs = list(knowledge_base.drugs.values())
    inserts = 0
    for disease in knowledge_base.diseases.values():
        for number in range(per_disease):
            kind = ROTATION[number % len(ROTATION)]
            if kind == "drug_insert":
                yield _drug_insert(knowledge_base, drugs[inserts % len(drugs)], number=inserts, seed=seed)
                inserts += 1
            else:
                yield _disease_document(knowledge_base, disease, kind=kind, number=number, seed=seed)


def _disease_document(
    knowledge_base: KnowledgeBase, disease: Disease, *, kind: str, number: int, seed: int
) -> Document:
    identifier = f"{kind}-{disease.id}-{number:02d}"
    generator = named_generator(seed, "document", identifier)
    facts = FactWriter(knowledge_base, generator)
    source = generator.choice(PUBLISHERS[kind])
    title, text = WRITERS[kind](facts, disease)
    return Document(
        id=identifier, type=kind, title=title, text=text, source=source,  # type: ignore[arg-type]
        year=generator.randint(*YEARS), impact=IMPACT_FACTORS.get(source),
        entities=(disease.id, *disease.first_line_drugs, *disease.indicated_tests),
    )  # fmt: skip


def _textbook(facts: FactWriter, disease: Disease) -> tuple[str, str]:
    opening = [disease.summary, facts.code(disease), facts.department(disease)]
    picture = [facts.symptoms(disease), facts.findings(disease), facts.recognition(disease), facts.recognition(disease)]
    management = [
        facts.tests(disease),
        facts.treatment(disease),
        facts.complications(disease),
        facts.risk_factors(disease),
    ]
    facts.generator.shuffle(management)
    return f"Chapter: {disease.name}", "\n".join(" ".join(part) for part in (opening, picture, management))


def _guideline(facts: FactWriter, disease: Disease) -> tuple[str, str]:
    lines = [
        f"Recommendations for {disease.name}.",
        f"1. Recognise. {facts.recognition(disease)} {facts.recognition(disease)}",
        f"2. Investigate. {facts.tests(disease)}",
        f"3. Treat. {facts.treatment(disease)} {_first_drug(facts, disease)}",
        f"4. Code. {facts.code(disease)}",
        f"5. Follow up. {facts.complications(disease)}",
    ]
    return f"Guideline on {disease.name}", "\n".join(lines)


def _encyclopedia(facts: FactWriter, disease: Disease) -> tuple[str, str]:
    tests = facts.generator.sample(list(disease.indicated_tests), min(2, len(disease.indicated_tests)))
    sentences = [
        f"{capitalised(disease.name)}: {disease.summary[0].lower()}{disease.summary[1:]}",
        facts.code(disease),
        facts.age(disease),
        facts.risk_factors(disease),
        facts.symptoms(disease),
        facts.recognition(disease),
        facts.recognition(disease),
        facts.treatment(disease),
        facts.tests(disease),
        *(facts.shows(facts.knowledge_base.tests[test]) for test in tests),
    ]
    return capitalised(disease.name), " ".join(sentences)


def _abstract(facts: FactWriter, disease: Disease) -> tuple[str, str]:
    patients = facts.generator.randint(80, 2400)
    text = (
        f"Background: {facts.risk_factors(disease)} Methods: We reviewed {patients} patients with {disease.name}. "
        f"Results: {facts.symptoms(disease)} {facts.findings(disease)} {facts.complications(disease)} "
        f"Conclusion: {facts.recognition(disease)} {facts.treatment(disease)}"
    )
    return f"{capitalised(disease.name)} in {patients} patients", text


def _pathway(facts: FactWriter, disease: Disease) -> tuple[str, str]:
    lines = [
        f"Pathway for {disease.name} ({disease.icd10}), {disease.department}.",
        f"Step 1, entry: {facts.recognition(disease)}",
        f"Step 2, tests: {facts.tests(disease)}",
        f"Step 3, drugs: {facts.treatment(disease)} {_first_drug(facts, disease)}",
        f"Step 4, discharge: {facts.complications(disease)} {facts.department(disease)}",
    ]
    return f"Clinical pathway: {disease.name}", "\n".join(lines)


def _first_drug(facts: FactWriter, disease: Disease) -> str:
    drug = facts.knowledge_base.drugs[facts.generator.choice(disease.first_line_drugs)]
    return facts.contraindications(drug)


def _drug_insert(knowledge_base: KnowledgeBase, drug: Drug, *, number: int, seed: int) -> Document:
    identifier = f"drug_insert-{drug.id}-{number:03d}"
    generator = named_generator(seed, "document", identifier)
    facts = FactWriter(knowledge_base, generator)
    populations = generator.sample(sorted(drug.special_populations), len(drug.special_populations))
    sentences = [
        facts.drug_class(drug),
        facts.indications(drug) if drug.indications else "",
        facts.contraindications(drug),
        *(facts.population(drug, population) for population in populations),
        *facts.interactions(drug),
        facts.dose(drug),
    ]
    return Document(
        id=identifier, type="drug_insert", title=f"{capitalised(drug.name)}: package insert",
        text=" ".join(sentence for sentence in sentences if sentence), source=PUBLISHERS["drug_insert"][0],
        year=generator.randint(*YEARS), entities=(drug.id, *drug.indications),
    )  # fmt: skip


WRITERS: dict[str, Callable[[FactWriter, Disease], tuple[str, str]]] = {
    "textbook": _textbook,
    "guideline": _guideline,
    "encyclopedia": _encyclopedia,
    "abstract": _abstract,
    "pathway": _pathway,
}
