"""Choice questions about a disease: what is asked, the right options, distractors of the same kind.

Options are given and answered as texts, because choosing a letter stays at chance for the laptop's small model.
"""

import json
from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft
from components.cases.world import World
from components.knowledge_base.schema import Disease

OPTION_COUNT = 4
# Kind of fact → how one right option is asked for, and how two are.
ONE = {
    "symptom": "Which is a symptom of {subject}?",
    "finding": "Which finding fits {subject}?",
    "complication": "Which is a complication of {subject}?",
    "risk factor": "Which is a risk factor for {subject}?",
    "drug": "Which drug is first-line for {subject}?",
    "test": "Which test is indicated in {subject}?",
    "department": "Which department treats {subject}?",
    "code": "Which ICD-10 code is right for {subject}?",
    "disease": "Which disease is it?",
}
TWO = {
    "symptom": "Which two are symptoms of {subject}?",
    "finding": "Which two findings fit {subject}?",
    "complication": "Which two are complications of {subject}?",
    "risk factor": "Which two are risk factors for {subject}?",
    "drug": "Which two drugs are first-line for {subject}?",
    "test": "Which two tests are indicated in {subject}?",
}
_REASONING = {
    "symptom": "{answer} is a symptom of {name}",
    "finding": "{answer} is found in {name}",
    "complication": "{answer} complicates {name}",
    "risk factor": "{answer} raises the risk of {name}",
    "drug": "{name} is treated with {answer}",
    "test": "{name} is tested with {answer}",
    "department": "{answer} treats {name}",
    "code": "{name} has code {answer}",
    "disease": "the features suggest {name}",
}


def draw_choice_question(world: World, random: Random, *, kinds: tuple[str, ...], right_count: int = 1) -> Draft | None:
    """Draw a question that names a disease; None where the disease has too few facts of the drawn kind."""
    disease = world.draw_disease(random)
    kind = random.choice(kinds)
    right = draw_right(world, disease, kind, right_count, random)
    if right is None:
        return None
    asked = (ONE if right_count == 1 else TWO)[kind].format(subject=disease.name)
    combination = combination_of(disease.id, kind.replace(" ", "_"), *right)
    return choice_draft(world, disease, kind, right, random, asked=asked, combination=combination)


def draw_right(world: World, disease: Disease, kind: str, count: int, random: Random) -> list[str] | None:
    """Draw the right options, or None where there are too few."""
    facts = (single_value(disease, kind),) if kind in world.single_values else world.facts[disease.id, kind]
    return random.sample(facts, count) if len(facts) >= count else None


def choice_draft(
    world: World, disease: Disease, kind: str, right: list[str], random: Random, *,
    asked: str, combination: str, fields: dict[str, str] | None = None, extra: dict[str, str] | None = None,
) -> Draft:  # fmt: skip
    """Put right options and distractors in random order and make the draft.

    Args:
        asked: the question itself, field `question`.
        fields: further template fields.
        extra: further reference entries (level and type of an exam).
    """
    options = [*right, *draw_wrong(world, disease, kind, OPTION_COUNT - len(right), random)]
    random.shuffle(options)
    ordered = [option for option in options if option in right]
    reasoning = _REASONING[kind].format(answer=" and ".join(ordered), name=disease.name)
    return Draft(
        combination=combination,
        entities=(disease.id,),
        fields={"question": asked, "options": " | ".join(options), **(fields or {})},
        answer=json.dumps({"answer": ordered[0] if len(ordered) == 1 else ordered}),
        reference={"answer": ordered, "options": options, "reasoning": reasoning, "kind": kind, **(extra or {})},
    )


def draw_wrong(world: World, disease: Disease, kind: str, count: int, random: Random) -> list[str]:
    """Draw distractors of the same kind that are wrong for the disease."""
    if kind not in world.single_values:
        return world.draw_distractors(disease, kind, count, random)
    own = single_value(disease, kind)
    return [value for value in random.sample(world.single_values[kind], count + 1) if value != own][:count]


def single_value(disease: Disease, kind: str) -> str:
    """Return a disease's department, code or name."""
    return {"department": disease.department, "code": disease.icd10, "disease": disease.name}[kind]
