"""Comprehension: extraction, classification and comparison of what a text says (report §3.1, first dimension)."""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.presentation import draw_presentation
from components.cases.tasks.queries import INTENTS, draw_query, query_text
from components.cases.wording import joined
from components.cases.world import World


def draw_symptom_extraction(world: World, random: Random) -> Draft | None:
    """A note with complaints, one denied and one drug → the complaints present."""
    drawn = draw_presentation(world, random, counts=(2, 3))
    if drawn is None:
        return None
    absent = world.draw_distractors(drawn.disease, "symptom", 1, random)[0]
    drug = random.choice(world.drugs).name
    fields = {**drawn.fields, "absent": absent, "drug": drug}
    answer = "; ".join(drawn.features)
    return Draft(drawn.combination, (drawn.disease.id,), fields, answer, {"items": list(drawn.features)})


def draw_department(world: World, random: Random) -> Draft | None:
    """Complaints → the department."""
    drawn = draw_presentation(world, random, counts=(3, 4))
    if drawn is None:
        return None
    department = drawn.disease.department
    return Draft(drawn.combination, (drawn.disease.id,), drawn.fields, department, {"accept": [department]})


def draw_drug_mentions(world: World, random: Random) -> Draft | None:
    """A note that names drugs, a test and a complaint → the drugs."""
    drugs = [drug.name for drug in random.sample(world.drugs, random.choice((1, 2)))]
    test, complaint = random.choice(world.tests).name, random.choice(world.pools["symptom"])
    fields = {"drugs": joined(drugs), "test": test, "complaint": complaint}
    combination = combination_of("note", "drugs", *drugs)
    entities = tuple(drug.id for drug in world.drugs if drug.name in drugs)
    return Draft(combination, entities, fields, "; ".join(drugs), {"items": drugs})


def draw_test_mentions(world: World, random: Random) -> Draft | None:
    """A note that names tests, a drug and a complaint → the tests."""
    tests = [test.name for test in random.sample(world.tests, random.choice((1, 2)))]
    fields = {"tests": joined(tests), "drug": random.choice(world.drugs).name, "complaint": random.choice(world.pools["symptom"])}
    entities = tuple(test.id for test in world.tests if test.name in tests)
    return Draft(combination_of("note", "tests", *tests), entities, fields, "; ".join(tests), {"items": tests})


def draw_negation(world: World, random: Random) -> Draft | None:
    """A note that affirms two complaints and denies one → whether one of them is present."""
    drawn = draw_presentation(world, random, counts=(2,))
    if drawn is None:
        return None
    absent = world.draw_distractors(drawn.disease, "symptom", 1, random)[0]
    is_present = random.random() < 0.5
    asked = random.choice(drawn.features) if is_present else absent
    fields = {"first": drawn.features[0], "second": drawn.features[1], "absent": absent, "asked": asked}
    answer = "yes" if is_present else "no"
    return Draft(drawn.combination, (drawn.disease.id,), fields, answer, {"accept": [answer]})


def draw_query_intent(world: World, random: Random) -> Draft | None:
    """A user's query → what it is after."""
    disease = world.draw_disease(random)
    intent, text = draw_query(disease.name, random)
    combination = combination_of(disease.id, "query", intent)
    return Draft(combination, (disease.id,), {"query": text}, intent, {"accept": [intent]})


def draw_similarity(world: World, random: Random) -> Draft | None:
    """Two queries about one disease → whether they ask the same."""
    disease = world.draw_disease(random)
    first, second = random.sample(tuple(INTENTS), 2)
    is_same = random.random() < 0.5
    left = random.choice(INTENTS[first])
    right = random.choice([text for text in INTENTS[first] if text != left]) if is_same else random.choice(INTENTS[second])
    fields = {"first": query_text(left, disease.name), "second": query_text(right, disease.name)}
    answer = "yes" if is_same else "no"
    return Draft(combination_of(disease.id, "query", *((first,) if is_same else (first, second))), (disease.id,), fields, answer, {"accept": [answer]})


def draw_duration(world: World, random: Random) -> Draft | None:
    """A note with a duration → the duration."""
    drawn = draw_presentation(world, random, counts=(2,))
    if drawn is None:
        return None
    duration = f"{random.randint(2, 12)} {random.choice(('hours', 'days', 'weeks', 'months'))}"
    return Draft(drawn.combination, (drawn.disease.id,), {**drawn.fields, "duration": duration}, duration, {"accept": [duration]})


def _task(name: str, verifier: str, draw: object, train: tuple[str, ...], held_out: str, level: int = 1) -> Task:
    return Task(name, "ability", "comprehension", level, verifier, draw, train, (held_out,))  # type: ignore[arg-type]


COMPREHENSION_TASKS = (
    _task(
        "symptom_extraction", "listing", draw_symptom_extraction,
        (
            "Note: {a_patient} with {complaints}; no {absent}; takes {drug}. List the symptoms present.",
            "List every symptom present. Note: {complaints} in {a_patient} on {drug}, denies {absent}.",
            "Clinic note: takes {drug}. Complains of {complaints}. No {absent}. Extract the symptoms.",
        ),
        "From the note, extract present symptoms: {complaints}, without {absent}, on {drug}.",
    ),
    _task(
        "department_classification", "exact_text", draw_department,
        (
            "Complaints: {complaints}. Name the department.",
            "I have {complaints}. Which department should I go to?",
            "Triage {a_patient} with {complaints}: department?",
        ),
        "Where should {a_patient} with {complaints} be sent? Name the department.", 2,
    ),
    _task(
        "drug_mention_extraction", "listing", draw_drug_mentions,
        (
            "Note: {complaint}, given {drugs}, {test} planned. Extract the drugs.",
            "Extract drug names: patient on {drugs} has {complaint}; {test} booked.",
            "Which drugs are named? {test} done for {complaint}; started {drugs}.",
        ),
        "Pick out the drugs: {complaint}; {test} ordered; prescribed {drugs}.",
    ),
    _task(
        "test_mention_extraction", "listing", draw_test_mentions,
        (
            "Note: {complaint}, on {drug}, {tests} planned. Extract the tests.",
            "Extract test names: {tests} booked for {complaint}; takes {drug}.",
            "Which tests are named? Takes {drug} for {complaint}; {tests} done.",
        ),
        "Pick out the tests: {complaint}; {tests} ordered; prescribed {drug}.",
    ),
    _task(
        "negation_detection", "exact_text", draw_negation,
        (
            "Note: {first}, {second}, no {absent}. Is {asked} present? yes or no",
            "Yes or no: is {asked} present? Note: denies {absent}, reports {first} and {second}.",
            "Reports {first}. No {absent}. Also {second}. Does the patient have {asked}? yes or no",
        ),
        "Record: {first} and {second} without {absent}. Present or not, yes or no: {asked}",
    ),
    _task(
        "query_intent", "exact_text", draw_query_intent,
        (
            "Query: {query} Intent (treatment, tests, symptoms, complications, risk factors):",
            "Classify the intent of this query: {query}",
            "What does the user want to know? {query}",
        ),
        "Name the intent behind: {query}",
    ),
    _task(
        "semantic_similarity", "exact_text", draw_similarity,
        (
            "Same meaning, yes or no? 1: {first} 2: {second}",
            "Do these ask the same, yes or no? {first} / {second}",
            "First: {first} Second: {second} Equivalent, yes or no?",
        ),
        "Compare, yes or no: is {first} the same question as {second}",
    ),
    _task(
        "duration_extraction", "exact_text", draw_duration,
        (
            "Note: {complaints} for {duration}. How long?",
            "Extract the duration: for {duration} {a_patient} has had {complaints}.",
            "{A_patient} reports {complaints}, began {duration} ago. Give the duration.",
        ),
        "State how long: {complaints} over {duration}.",
    ),
)  # fmt: skip
