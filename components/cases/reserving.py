"""Combinations that patient records already show: reserved for training, so that no test vignette is a record."""

from collections.abc import Iterable

from components.cases.passages import phrase_finder
from components.cases.splitting import combination_of
from components.cases.world import World
from components.documents import Document


def reserved_combinations(records: Iterable[Document], world: World) -> dict[str, list[str]]:
    """Return the combinations of the symptoms and findings that records mention of their diseases, each with those records' ids."""
    finder = phrase_finder(world.owners)
    reserved: dict[str, dict[str, None]] = {}
    for record in records:
        mentioned = {match.casefold() for match in finder.findall(record.text)}
        for disease in (world.kb.diseases[entity] for entity in record.entities if entity in world.kb.diseases):
            shown = [feature for feature in (*disease.symptoms, *disease.findings) if feature.casefold() in mentioned]
            for features in (shown, [feature for feature in shown if feature in disease.symptoms]):
                if features:
                    reserved.setdefault(combination_of(disease.id, "presents", *features), {})[record.id] = None
    return {combination: list(ids) for combination, ids in reserved.items()}
