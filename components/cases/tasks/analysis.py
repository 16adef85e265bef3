"""Analysis: reasoning from several facts, robustness to false premises, wording and noise (report §3.1, fourth dimension).

The direct forms ask the four verified tasks' questions for the final answer alone, before a model has learnt to think.
"""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.arithmetic import ARITHMETIC_TASKS
from components.cases.tasks.presentation import draw_presentation
from components.cases.tasks.verified import draw_diagnosis, draw_drug_choice, draw_exam_question, draw_test_ordering
from components.cases.wording import capitalised, joined
from components.cases.world import World

FALSE_PREMISE = "The premise is false."


def draw_differential(world: World, random: Random) -> Draft | None:
    """Features and two diseases → the one they fit."""
    drawn = draw_presentation(world, random, counts=(3,))
    other = world.draw_disease(random)
    if drawn is None or other.id == drawn.disease.id:
        return None
    names = [drawn.disease.name, other.name]
    random.shuffle(names)
    fields = {**drawn.fields, "first": names[0], "second": names[1]}
    return Draft(drawn.combination, (drawn.disease.id, other.id), fields, drawn.disease.name, {"accept": [drawn.disease.name]})


def draw_false_premise(world: World, random: Random) -> Draft | None:
    """A question that assumes a treatment → the refusal of a false premise, or that it is right."""
    disease = world.draw_disease(random)
    is_true = random.random() < 0.5
    drug = random.choice(world.facts[disease.id, "drug"]) if is_true else world.draw_distractors(disease, "drug", 1, random)[0]
    answer = "The premise is true." if is_true else FALSE_PREMISE
    combination = combination_of(disease.id, "premise", drug)
    return Draft(combination, (disease.id,), {"disease": disease.name, "drug": drug}, answer, {"accept": [answer]})


def draw_consistency(world: World, random: Random) -> Draft | None:
    """A statement of fact → true or false."""
    disease = world.draw_disease(random)
    kind = random.choice(("symptom", "test", "complication"))
    is_true = random.random() < 0.5
    fact = random.choice(world.facts[disease.id, kind]) if is_true else world.draw_distractors(disease, kind, 1, random)[0]
    said = {"symptom": "{0} is a symptom of {1}", "test": "{0} is indicated in {1}", "complication": "{0} is a complication of {1}"}[kind]
    answer = "true" if is_true else "false"
    combination = combination_of(disease.id, kind, fact)
    return Draft(combination, (disease.id,), {"statement": capitalised(said.format(fact, disease.name))}, answer, {"accept": [answer]})


def draw_stability(world: World, random: Random) -> Draft | None:
    """One question in many wordings → always the same answer."""
    disease = world.draw_disease(random)
    answer = world.facts[disease.id, "drug"][0]
    return Draft(combination_of(disease.id, "first_drug", answer), (disease.id,), {"disease": disease.name}, answer, {"accept": [answer]})


def draw_noise_resistance(world: World, random: Random) -> Draft | None:
    """Three statements, one about the disease asked after → what it says."""
    chosen = random.sample(world.diseases, 3)
    facts = [random.choice(world.facts[disease.id, "drug"]) for disease in chosen]
    asked = random.randrange(3)
    if len(set(facts)) < 3:
        return None
    shown = " ".join(f"[{number}] {disease.name} is treated with {fact}." for number, (disease, fact) in enumerate(zip(chosen, facts, strict=True), 1))
    fields = {"passages": shown, "disease": chosen[asked].name}
    combination = combination_of(chosen[asked].id, "noise", facts[asked], *(disease.id for disease in chosen))
    return Draft(combination, (chosen[asked].id,), fields, facts[asked], {"accept": [facts[asked]]})


def draw_relevance(world: World, random: Random) -> Draft | None:
    """Three statements and a question → the number of the one that answers it."""
    chosen = random.sample(world.diseases, 3)
    kinds = [random.choice(("symptom", "complication", "risk factor")) for _ in chosen]
    said = {"symptom": "{1} may cause {0}", "complication": "{1} can end in {0}", "risk factor": "{0} makes {1} likelier"}
    facts = [random.choice(world.facts[disease.id, kind]) for disease, kind in zip(chosen, kinds, strict=True)]
    asked = random.randrange(3)
    lines = [said[kind].format(fact, disease.name) for kind, fact, disease in zip(kinds, facts, chosen, strict=True)]
    fields = {"passages": " ".join(f"[{number}] {line}." for number, line in enumerate(lines, 1)), "disease": chosen[asked].name}
    answer = f"[{asked + 1}]"
    combination = combination_of(chosen[asked].id, "relevance", *facts, *(disease.id for disease in chosen))
    return Draft(combination, (chosen[asked].id,), fields, answer, {"accept": [answer, str(asked + 1)]})


def draw_two_step(world: World, random: Random) -> Draft | None:
    """Features → the diagnosis and its first drug, in one line."""
    drawn = draw_presentation(world, random, counts=(3,))
    if drawn is None:
        return None
    drug = world.facts[drawn.disease.id, "drug"][0]
    answer = f"{drawn.disease.name}; {drug}"
    return Draft(drawn.combination, (drawn.disease.id,), {**drawn.fields}, answer, {"items": [drawn.disease.name, drug]})


def draw_common_feature(world: World, random: Random) -> Draft | None:
    """Three features of one disease and one of another → the one that does not fit."""
    drawn = draw_presentation(world, random, counts=(3,))
    if drawn is None:
        return None
    odd = world.draw_distractors(drawn.disease, "symptom", 1, random)[0]
    items = [*drawn.features, odd]
    random.shuffle(items)
    fields = {**drawn.fields, "items": joined(items), "disease": drawn.disease.name}
    return Draft(drawn.combination, (drawn.disease.id,), fields, odd, {"accept": [odd]})


def _task(name: str, verifier: str, draw: object, train: tuple[str, ...], held_out: str, level: int = 2) -> Task:
    return Task(name, "ability", "analysis", level, verifier, draw, train, (held_out,))  # type: ignore[arg-type]


ANALYSIS_TASKS = (
    *ARITHMETIC_TASKS,
    _task(
        "differential_diagnosis", "exact_text", draw_differential,
        ("{complaints}: {first} or {second}?", "Which fits {complaints}: {first} or {second}?", "{A_patient} has {complaints}. Decide: {first} or {second}."),
        "Weigh {first} against {second} given {complaints}.",
    ),
    _task(
        "false_premise", "exact_text", draw_false_premise,
        ("Since {drug} is first-line for {disease}, how does it work? Judge the premise.", "Why is {disease} first treated with {drug}? Check the premise.", "Is the premise true? {drug} is the first choice in {disease}."),
        "Before answering why {drug} comes first in {disease}, judge the premise.", 3,
    ),
    _task(
        "factual_consistency", "exact_text", draw_consistency,
        ("True or false: {statement}.", "{statement}. Is this true or false?", "Check the fact (true, false): {statement}."),
        "Decide whether this holds, true or false: {statement}.",
    ),
    _task(
        "output_stability", "exact_text", draw_stability,
        (
            "First drug for {disease}?", "Name the drug to start with in {disease}.", "Someone has {disease}; which drug first?",
            "{disease}: initial drug", "Start {disease} on which drug?", "What would you give first in {disease}?",
        ),
        "Say the one drug you would begin with against {disease}.",
    ),
    _task(
        "noise_resistance", "exact_text", draw_noise_resistance,
        ("{passages} Drug for {disease}?", "{passages} What treats {disease}?", "Use the text. {passages} Which drug is for {disease}?"),
        "Read and answer. {passages} {disease} is treated with:",
    ),
    _task(
        "relevance_extraction", "exact_text", draw_relevance,
        ("{passages} Which number is about {disease}?", "Find {disease}. {passages} Number:", "{passages} Cite the passage on {disease}."),
        "{passages} Point to the one concerning {disease}.",
    ),
    _task(
        "odd_one_out", "exact_text", draw_common_feature,
        ("{items}: which does not fit {disease}?", "In {disease} one of these is odd: {items}", "Find what {disease} does not cause: {items}"),
        "Exclude one for {disease}: {items}",
    ),
    _task(
        "diagnosis_and_drug", "listing", draw_two_step,
        ("{complaints}. Disease and first drug:", "Name the disease and its first drug: {complaints}", "{A_patient} with {complaints}: disease; drug"),
        "Give illness and initial drug for {complaints}.", 3,
    ),
    _task(
        "diagnosis_direct", "icd_diagnosis", draw_diagnosis,
        ("{complaints}. ICD-10 JSON:", "Answer at once with ICD-10 JSON: {complaints}", "{A_patient}: {complaints}. Code only, as JSON."),
        "At once, as JSON, the ICD-10 code: {a_patient} with {complaints}.", 3,
    ),
    _task(
        "drug_choice_direct", "drug_choice", draw_drug_choice,
        ("{disease}; {who}. Drugs JSON:", "Answer at once with a JSON drug list: {disease}, {who}", "Drugs for {disease} with {who}, JSON only."),
        "At once, as JSON, the drugs: {disease} and {who}.", 3,
    ),
    _task(
        "test_ordering_direct", "test_ordering", draw_test_ordering,
        ("{complaints}. Order at once:", "Answer at once with the tests: {complaints}", "{A_patient}: {complaints}. Tests only."),
        "At once, the tests: {a_patient} with {complaints}.", 3,
    ),
    _task(
        "exam_question_direct", "exam_answer", draw_exam_question,
        ("{question} {options}. JSON:", "Answer at once in JSON. {question} {options}", "{question} Pick from {options}, JSON only."),
        "At once, as JSON: {question} {options}",
    ),
)  # fmt: skip
