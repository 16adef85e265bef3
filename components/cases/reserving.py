"""Combinations that patient records already show: reserved for training, so that no test vignette is a record."""

from collections.abc import Iterable

from components.cases.passages import phrase_finder
from components.cases.splitting import combination_of
from components.cases.world import World
from components.documents import Document


def reserved_combinations(records: Iterable[Document], world: World) -> frozenset[str]:
    """Return the combinations of the symptoms and findings each record mentions of each of its diseases."""
    finder = phrase_finder(world.owners)
    reserved = set()
    for record in records:
        mentioned = {match.casefold() for match in finder.findall(record.text)}
        for disease in (world.kb.diseases[entity] for entity in record.entities if entity in world.kb.diseases):
            shown = [feature for feature in (*disease.symptoms, *disease.findings) if feature.casefold() in mentioned]
            for features in (shown, [feature for feature in shown if feature in disease.symptoms]):
                if features:
                    reserved.add(combination_of(disease.id, "presents", *features))
    return frozenset(reserved)
