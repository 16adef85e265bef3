"""Knowledge probes: raw text to be continued, scored by likelihood over options (report §2.3: fact and concept sets).

A fact probe asks for one stored fact; a concept probe for a relation over several (which disease these features
suggest, what two drugs have in common). Each is put with and without leading text. The phrasings are unlike the corpus's.
"""

from collections.abc import Callable
from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.questions import draw_right, draw_wrong
from components.cases.wording import capitalised, joined
from components.cases.world import World

LEADING = "The following statement was checked by a physician. "
_FACTS = {
    "symptom": "Someone suffering from {name} will often notice",
    "finding": "On examining a person with {name}, the doctor finds",
    "complication": "Left alone, {name} may end in",
    "risk factor": "People are more prone to {name} because of",
    "drug": "The physician starts {name} therapy with",
    "test": "To look into suspected {name}, request",
    "department": "Send every person with {name} to",
    "code": "In the ICD-10 register, {name} is filed under",
}


def draw_fact(is_leading: bool) -> Callable[[World, Random], Draft | None]:
    """Return the draw function of fact probes, with or without leading text."""

    def draw(world: World, random: Random) -> Draft | None:
        if random.random() < 0.2:
            return _drug_class(world, random, is_leading)
        disease = world.draw_disease(random)
        kind = random.choice(tuple(_FACTS))
        right = draw_right(world, disease, kind, 1, random)
        if right is None:
            return None
        options = (right[0], *draw_wrong(world, disease, kind, world.option_count - 1, random))
        combination = combination_of(disease.id, kind.replace(" ", "_"), right[0])
        return _draft(combination, disease.id, _FACTS[kind].format(name=disease.name), options, "fact", is_leading)

    return draw


def _drug_class(world: World, random: Random, is_leading: bool) -> Draft:
    drug = random.choice(world.drugs)
    others = sorted({other.drug_class for other in world.drugs} - {drug.drug_class})
    options = (drug.drug_class, *random.sample(others, world.option_count - 1))
    combination = combination_of(drug.id, "drug_class", drug.drug_class)
    return _draft(combination, drug.id, f"Pharmacists shelve {drug.name} as a", options, "fact", is_leading)


def draw_concept(is_leading: bool) -> Callable[[World, Random], Draft | None]:
    """Return the draw function of concept probes: features → the disease, or features → the department or drug."""

    def draw(world: World, random: Random) -> Draft | None:
        disease = world.draw_disease(random)
        features = world.draw_features(disease, random.choice((2, 3)), random)
        if features is None:
            return None
        kind = random.choice(("disease", "disease", "department", "drug"))
        right = draw_right(world, disease, kind, 1, random)
        if right is None:
            return None
        ending = {"disease": "together mean", "department": "are seen by", "drug": "call for"}[kind]
        options = (right[0], *draw_wrong(world, disease, kind, world.option_count - 1, random))
        prefix = f"{capitalised(joined(features))} {ending}"
        return _draft(combination_of(disease.id, "presents", *features), disease.id, prefix, options, "concept", is_leading)

    return draw


def _draft(combination: str, entity: str, prefix: str, options: tuple[str, ...], name: str, is_leading: bool) -> Draft:
    text = f"{LEADING}{prefix}" if is_leading else prefix
    reference = {"set": name, "leading": is_leading}
    return Draft(combination, (entity,), {"prefix": text}, options[0], reference, options=options)


def _task(name: str, draw: Callable[[World, Random], Draft | None]) -> Task:
    return Task(
        name=name, suite="probes", dimension="knowledge_application", level=1, verifier="likelihood", draw=draw,
        train_templates=("{prefix}",), held_out_templates=("{prefix}",),
    )  # fmt: skip


PROBE_TASKS = (
    _task("fact_probe", draw_fact(False)),
    _task("fact_probe_leading", draw_fact(True)),
    _task("concept_probe", draw_concept(False)),
    _task("concept_probe_leading", draw_concept(True)),
)
