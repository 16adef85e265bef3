"""What is wrong with real sources, made on purpose: copies, near copies, noise, and sentences that contradict the rest.

Every defective document says so in its id (`…-copy`, `…-near`, `noise-…`, `contradiction-…`), which only the report and
the tests read; curation must find them by their text.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from components.curation.raw_sources.seeds import named_generator
from components.curation.raw_sources.sentences import FactWriter, capitalised
from components.documents import Document
from components.knowledge_base.schema import Disease, KnowledgeBase
from components.settings.data import SourcesSettings

FILLERS = ("in practice", "as a rule", "today", "in our experience", "overall")
BOILERPLATE = (
    "Accept all cookies to continue. Click here to subscribe to our newsletter. Share this page. All rights reserved."
)
OFF_TOPIC = (
    "The midfield lost the ball early and the second half brought two late goals, so the visitors took the cup home on a rainy evening.",
    "Beat the butter with sugar until pale, fold in the flour, and bake the cake for forty minutes before dusting it with cocoa.",
    "Quarterly revenue of the shipping company rose by nine percent while fuel prices fell, and the board announced a new harbour terminal.",
    "The old engine starts badly in winter, so check the spark plugs, the battery terminals and the level of the coolant first.",
)


def write_defects(
    knowledge_base: KnowledgeBase, documents: Sequence[Document], *, seed: int, settings: SourcesSettings
) -> Iterator[Document]:
    """Yield the defective documents; each kind numbers its settings' share of the sound ones."""
    generator = named_generator(seed, "defects")
    total = len(documents)
    for original in generator.sample(list(documents), round(total * settings.exact_duplicate_share)):
        yield original.model_copy(update={"id": f"{original.id}-copy"})
    for original in generator.sample(list(documents), round(total * settings.near_duplicate_share)):
        yield original.model_copy(update={"id": f"{original.id}-near", "text": _edited(original.text, generator)})
    for number in range(round(total * settings.noise_share)):
        yield _noise(documents, number, generator)
    diseases = list(knowledge_base.diseases.values())
    for number in range(round(total * settings.contradiction_share)):
        yield _contradiction(knowledge_base, diseases, number, seed)


def _edited(text: str, generator: random.Random) -> str:
    """Insert two fillers and drop the last word of the opening: a light rewrite that leaves most 5-grams alone."""
    words = text.split(" ")
    for _ in range(2):
        words.insert(generator.randrange(1, len(words)), generator.choice(FILLERS))
    return " ".join(words).replace("usually", "often", 1)


def _noise(documents: Sequence[Document], number: int, generator: random.Random) -> Document:
    makers: tuple[Callable[[], str], ...] = (
        lambda: BOILERPLATE + " " + generator.choice(OFF_TOPIC),
        lambda: generator.choice(OFF_TOPIC),
        lambda: "\n".join([generator.choice(documents).text.split(".")[0] + "."] * 6),
        lambda: " ".join(
            generator.choice(("#@!", "%%&", "§§", "||", "�~^", "***")) + str(generator.randint(1, 99))
            for _ in range(40)
        ),
        lambda: " ".join(generator.choice(documents).text.split()[:4]),
    )
    return Document(
        id=f"noise-{number:04d}",
        type="web",
        title="",
        text=makers[number % len(makers)](),
        source="crawled page",
        year=2020,
    )


def _contradiction(knowledge_base: KnowledgeBase, diseases: Sequence[Disease], number: int, seed: int) -> Document:
    generator = named_generator(seed, "contradiction", str(number))
    disease = diseases[number % len(diseases)]
    facts = FactWriter(knowledge_base, generator)
    drug = knowledge_base.drugs[generator.choice(disease.first_line_drugs)]
    other = generator.choice([item for item in diseases if item.icd10[:3] != disease.icd10[:3]])
    wrong = (
        f"The ICD-10 code of {disease.name} is {other.icd10}.",
        f"{capitalised(drug.name)} is safe in {drug.contraindications[0]}.",
        f"{capitalised(drug.name)} must not be used for {disease.name}.",
    )[number % 3]
    text = f"I read a lot about {disease.name}. {facts.symptoms(disease)} {wrong} {facts.risk_factors(disease)}"
    return Document(
        id=f"contradiction-{number:04d}", type="web", title=f"Forum: {disease.name}", text=text, source="health forum",
        year=generator.randint(2010, 2024), entities=(disease.id, drug.id),
    )  # fmt: skip
