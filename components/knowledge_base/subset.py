"""A part of the knowledge base for a small run: the same diseases at every call, balanced over departments."""

from itertools import zip_longest

from components.errors import SettingsError
from components.knowledge_base.schema import PREVALENCE_ORDER, Disease, Drug, KnowledgeBase


def select_diseases(knowledge_base: KnowledgeBase, count: int) -> KnowledgeBase:
    """Keep `count` diseases with the drugs and tests they name; references out of the subset are dropped.

    Departments take turns (largest first), and each gives its commonest disease next, so that a smaller subset is
    contained in a larger one.

    Raises:
        SettingsError: more diseases are asked for than there are.
    """
    if count > len(knowledge_base.diseases):
        raise SettingsError(
            f"sources.diseases: {count} asked for, the knowledge base has {len(knowledge_base.diseases)}; lower it"
        )
    chosen = {disease.id for disease in _by_turns(knowledge_base)[:count]}
    diseases = {name: disease for name, disease in knowledge_base.diseases.items() if name in chosen}
    named_drugs = {drug for disease in diseases.values() for drug in disease.first_line_drugs}
    named_tests = {test for disease in diseases.values() for test in disease.indicated_tests}
    drugs = {
        name: _within(drug, chosen, named_drugs) for name, drug in knowledge_base.drugs.items() if name in named_drugs
    }
    tests = {name: test for name, test in knowledge_base.tests.items() if name in named_tests}
    return KnowledgeBase(diseases=diseases, drugs=drugs, tests=tests)


def _by_turns(knowledge_base: KnowledgeBase) -> list[Disease]:
    departments: dict[str, list[Disease]] = {}
    for disease in knowledge_base.diseases.values():
        departments.setdefault(disease.department, []).append(disease)
    for members in departments.values():
        members.sort(key=lambda disease: PREVALENCE_ORDER.index(disease.prevalence))
    ordered = sorted(departments.items(), key=lambda item: (-len(item[1]), item[0]))
    turns = zip_longest(*(members for _, members in ordered))
    return [disease for turn in turns for disease in turn if disease is not None]


def _within(drug: Drug, diseases: set[str], drugs: set[str]) -> Drug:
    return drug.model_copy(
        update={
            "indications": tuple(name for name in drug.indications if name in diseases),
            "interactions": tuple(item for item in drug.interactions if item.with_drug in drugs),
        }
    )
