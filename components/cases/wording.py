"""Small pieces of English the question makers share: lists, patients, articles."""

from collections.abc import Sequence
from random import Random

from components.knowledge_base.schema import Disease

ADULT_YEARS = 16


def joined(items: Sequence[str]) -> str:
    """Write a list as `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def capitalised(text: str) -> str:
    """Raise the first letter only, so that names within keep theirs."""
    return text[:1].upper() + text[1:]


def with_article(noun_phrase: str) -> str:
    """Put `a` or `an` before a phrase that starts with an age or a word (`an 8-year-old boy`)."""
    first = noun_phrase.split("-")[0].split(" ")[0]
    starts_with_vowel = first in ("11", "18") or first.startswith("8") or first[:1].lower() in "aeiou"
    return f"{'an' if starts_with_vowel else 'a'} {noun_phrase}"


def patient(disease: Disease, random: Random) -> str:
    """Draw a patient of the age and sex the disease is usual in: `34-year-old woman`."""
    youngest, oldest = disease.age_years
    age = random.randint(max(1, youngest), max(1, oldest))
    sex = random.choice(("female", "male")) if disease.sex == "any" else disease.sex
    adult = {"female": "woman", "male": "man"}[sex]
    child = {"female": "girl", "male": "boy"}[sex]
    return f"{age}-year-old {adult if age >= ADULT_YEARS else child}"


def patient_fields(disease: Disease, random: Random) -> dict[str, str]:
    """Return the template fields `patient`, `a_patient` and `A_patient` of a drawn patient."""
    name = patient(disease, random)
    article = with_article(name)
    return {"patient": name, "a_patient": article, "A_patient": capitalised(article)}
