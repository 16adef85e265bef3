"""Drawing a patient's presentation, shared by every task that starts from one."""

from dataclasses import dataclass
from random import Random

from components.cases.splitting import combination_of
from components.cases.wording import joined, patient_fields
from components.cases.world import World
from components.knowledge_base.schema import Disease


@dataclass(frozen=True)
class Presentation:
    """A disease and the features a patient shows, which fit no other disease of the world."""

    disease: Disease
    features: tuple[str, ...]
    combination: str
    fields: dict[str, str]


def draw_presentation(world: World, random: Random, *, counts: tuple[int, ...]) -> Presentation | None:
    """Draw a disease and some of its symptoms and findings; None where the features fit several diseases.

    Args:
        counts: how many features, drawn with equal chance.
    """
    disease = world.draw_disease(random)
    features = world.draw_features(disease, random.choice(counts), random)
    if features is None:
        return None
    fields = {**patient_fields(disease, random), "complaints": joined(features)}
    return Presentation(disease, features, combination_of(disease.id, "presents", *features), fields)
