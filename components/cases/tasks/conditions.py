"""Conditions of a patient that decide which drugs suit: special populations, illnesses, allergies.

A condition is written as the knowledge base writes it: a population (`child`, `pregnancy`, `elderly`, `renal`), a
contraindication phrase, or "" for none.
"""

from random import Random

from components.cases.world import World
from components.knowledge_base.schema import Disease

POPULATIONS = {
    "child": "the patient is a child",
    "pregnancy": "the patient is pregnant",
    "elderly": "the patient is elderly",
    "renal": "renal impairment",
}
_NONE_SHARE, _POPULATION_SHARE, _OWN_SHARE = 0.1, 0.25, 0.4


def draw_condition(world: World, disease: Disease, random: Random) -> str | None:
    """Draw a condition of a patient with the disease; None where the two cannot go together."""
    kind = random.random()
    if kind < _NONE_SHARE:
        return ""
    if kind < _NONE_SHARE + _POPULATION_SHARE:
        population = random.choice(tuple(POPULATIONS))
        return population if fits_population(disease, population) else None
    own = [
        phrase for drug in disease.first_line_drugs for phrase in world.kb.drugs[drug].contraindications
        if phrase in world.conditions
    ]  # fmt: skip
    is_own = own and kind < _NONE_SHARE + _POPULATION_SHARE + _OWN_SHARE
    phrase = random.choice(own) if is_own else random.choice(world.conditions)
    if phrase == "pregnancy":
        return phrase if fits_population(disease, phrase) else None
    return None if phrase in disease.name or disease.name in phrase else phrase


def fits_population(disease: Disease, population: str) -> bool:
    """Say whether patients of a population get the disease at all, by its sex and usual ages."""
    youngest, oldest = disease.age_years
    if population == "child":
        return youngest < 12
    if population == "pregnancy":
        return disease.sex != "male" and youngest <= 40 and oldest >= 18
    return oldest >= 65 if population == "elderly" else True


def condition_phrase(condition: str) -> str:
    """Write a condition as a note: `the patient is pregnant`, `penicillin allergy`, `no other illness`."""
    return POPULATIONS.get(condition, condition) or "no other illness"
