"""General queries in free sentences: a disease, one or two aspects, sometimes a population; judged by the oracle."""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.conditions import condition_phrase, draw_condition
from components.cases.wording import capitalised, joined
from components.cases.world import World
from components.knowledge_base.schema import Disease

# Aspect → (what is asked, how it is answered, kind of fact); the names are those rewards/facts.py knows.
ASPECTS = {
    "treatment": ("treatment", "{} is first treated with {}", "drug"),
    "tests": ("tests", "Useful tests for {} are {}", "test"),
    "symptoms": ("symptoms", "{} may cause {}", "symptom"),
    "complications": ("complications", "{} can lead to {}", "complication"),
    "risk_factors": ("risk factors", "{} is more likely with {}", "risk factor"),
}
ADVICE = "See a doctor if it gets worse."
ITEMS = 2
# Kind of a user's query in the sources → the aspect it asks for.
QUERY_KINDS = {
    "treatment": "treatment",
    "tests": "tests",
    "symptoms": "symptoms",
    "complications": "complications",
    "prevention": "risk_factors",
    "risk_factors": "risk_factors",
}


def draw_general(world: World, random: Random) -> Draft | None:
    """Draw a disease, one or two aspects and, with treatment, perhaps a condition."""
    disease = world.draw_disease(random)
    aspects = tuple(sorted(random.sample(tuple(ASPECTS), random.choice((1, 2, 2))), key=tuple(ASPECTS).index))
    condition = draw_condition(world, disease, random) if "treatment" in aspects and random.random() < 0.6 else ""
    if condition is None:
        return None
    return general_draft(world, disease, aspects, condition)


def draw_user_query(world: World, random: Random) -> Draft | None:
    """Draw one of the users' queries of the sources; None where its kind or disease is unknown."""
    if not world.queries:
        return None
    query = random.choice(world.queries)
    diseases = [entity for entity in query["entities"] if entity in world.kb.diseases]
    aspect = QUERY_KINDS.get(query["kind"])
    if not diseases or aspect is None:
        return None
    draft = general_draft(world, world.kb.diseases[diseases[0]], (aspect,), "")
    if draft is None:
        return None
    fields = {"query": query["text"]}
    return Draft(draft.combination, draft.entities, fields, draft.answer, draft.reference, source_ids=(query["id"],))


def general_draft(world: World, disease: Disease, aspects: tuple[str, ...], condition: str) -> Draft | None:
    """Make the draft of a general query with its full-mark answer; None where no first-line drug suits the patient."""
    suitable, unsuitable = world.acceptable_drugs(disease, [condition] if condition else [])
    if "treatment" in aspects and not suitable:
        return None
    sentences = []
    for aspect in aspects:
        _, wording, kind = ASPECTS[aspect]
        facts = suitable if aspect == "treatment" else world.facts[disease.id, kind]
        sentences.append(f"{capitalised(wording.format(disease.name, joined(list(facts[:ITEMS]))))}.")
    if "treatment" in aspects and unsuitable:
        sentences.append(f"Avoid {joined(unsuitable)} here.")
    answer = " ".join([*sentences, ADVICE])
    reference = {"disease": disease.id, "aspects": list(aspects), "population": condition or None}
    note = f" Note: {condition_phrase(condition)}." if condition else ""
    fields = {"aspects": " and ".join(ASPECTS[aspect][0] for aspect in aspects), "disease": disease.name, "note": note}
    combination = combination_of(disease.id, "general", *aspects, *([f"for {condition}"] if condition else []))
    return Draft(combination, (disease.id,), fields, answer, reference)


PREFERENCE_TASKS = (
    Task(
        name="general_query", suite="preference", dimension="generation", level=3, verifier="oracle", draw=draw_general,
        train_templates=(
            "Tell me about {aspects} of {disease}.{note}",
            "I have {disease}. What should I know about {aspects}?{note}",
            "Explain {aspects} in {disease}.{note}",
        ),
        held_out_templates=("My doctor says it is {disease}. Please describe {aspects}.{note}",),
    ),
    Task(
        name="user_query", suite="preference", dimension="generation", level=3, verifier="oracle", draw=draw_user_query,
        train_templates=("{query}",), held_out_templates=("{query}",),
    ),
)  # fmt: skip
