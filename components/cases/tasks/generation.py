"""Generation: order, brevity and plain wording of what is written (report §3.1, second dimension)."""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.lay_terms import LAY_TERMS
from components.cases.tasks.presentation import draw_presentation
from components.cases.wording import capitalised, joined
from components.cases.world import World

STEPS = ("complains of {symptom}", "has {test}", "is told the diagnosis: {disease}", "is given {drug}")


def draw_sentence_ordering(world: World, random: Random) -> Draft | None:
    """Three shuffled steps of a visit → their order."""
    disease = world.draw_disease(random)
    symptom, test, drug = (random.choice(world.facts[disease.id, kind]) for kind in ("symptom", "test", "drug"))
    kept = sorted(random.sample(range(len(STEPS)), 3))
    letters = random.sample("abc", 3)
    steps = [STEPS[index].format(symptom=symptom, test=test, disease=disease.name, drug=drug) for index in kept]
    shown = sorted(zip(letters, steps, strict=True))
    answer = "; ".join(letters)
    fields = {"steps": " ".join(f"({letter}) {step}" for letter, step in shown)}
    return Draft(combination_of(disease.id, "visit", symptom, test, drug), (disease.id,), fields, answer, {"accept": [answer]})


def draw_list_to_sentence(world: World, random: Random) -> Draft | None:
    """A list of complaints → one sentence."""
    drawn = draw_presentation(world, random, counts=(2, 3))
    if drawn is None:
        return None
    answer = f"The patient has {joined(drawn.features)}."
    fields = {**drawn.fields, "items": "; ".join(drawn.features)}
    return Draft(drawn.combination, (drawn.disease.id,), fields, answer, {"accept": [answer]})


def draw_broader_term(world: World, random: Random) -> Draft | None:
    """A drug and its class → the broader of the two (hypernym)."""
    drug = random.choice(world.drugs)
    pair = [drug.name, drug.drug_class]
    random.shuffle(pair)
    is_broader = random.random() < 0.5
    answer = drug.drug_class if is_broader else drug.name
    fields = {"first": pair[0], "second": pair[1], "which": "broader" if is_broader else "narrower"}
    return Draft(combination_of(drug.id, "drug_class", drug.drug_class), (drug.id,), fields, answer, {"accept": [answer]})


def draw_synonyms(world: World, random: Random) -> Draft | None:
    """Two names of tests → whether they name one test."""
    test = random.choice([test for test in world.tests if len(test.keywords) > 1])
    first = random.choice(test.keywords)
    is_same = random.random() < 0.5
    other = test if is_same else random.choice([item for item in world.tests if item.id != test.id])
    choices = [word for word in other.keywords if word.casefold() != first.casefold()]
    second = random.choice(choices)
    answer = "yes" if is_same else "no"
    combination = combination_of("synonym", "tests", first.casefold(), second.casefold())
    return Draft(combination, (test.id,), {"first": first, "second": second}, answer, {"accept": [answer]})


def draw_lay_rewriting(world: World, random: Random) -> Draft | None:
    """A sentence with a clinical word → the same in plain words."""
    clinical, plain = random.choice(LAY_TERMS)
    disease = world.draw_disease(random)
    frame = random.choice(("{who} with {disease} has {term}.", "{who} reports {term}; {disease} is known.", "{who} has {term} because of {disease}."))
    who = random.choice(("The patient", "This man", "This woman", "My mother", "The boy"))
    sentence, answer = (frame.format(who=who, disease=disease.name, term=term) for term in (clinical, plain))
    combination = combination_of(disease.id, "lay_term", clinical)
    return Draft(combination, (disease.id,), {"sentence": sentence}, answer, {"accept": [answer]})


def draw_redundancy(world: World, random: Random) -> Draft | None:
    """A list with one item twice → the list without the repetition."""
    drawn = draw_presentation(world, random, counts=(2, 3))
    if drawn is None:
        return None
    repeated = list(drawn.features)
    repeated.insert(random.randint(1, len(repeated)), random.choice(drawn.features[:1]))
    answer = "; ".join(drawn.features)
    return Draft(drawn.combination, (drawn.disease.id,), {"items": "; ".join(repeated)}, answer, {"accept": [answer]})


def draw_plan_sentence(world: World, random: Random) -> Draft | None:
    """Structured facts of a plan → one sentence."""
    disease = world.draw_disease(random)
    drug, test = random.choice(world.facts[disease.id, "drug"]), random.choice(world.facts[disease.id, "test"])
    answer = f"{capitalised(disease.name)}: give {drug} and arrange {test}."
    fields = {"disease": disease.name, "drug": drug, "test": test}
    return Draft(combination_of(disease.id, "plan", drug, test), (disease.id,), fields, answer, {"accept": [answer]})


def _task(name: str, verifier: str, draw: object, train: tuple[str, ...], held_out: str, level: int = 1) -> Task:
    return Task(name, "ability", "generation", level, verifier, draw, train, (held_out,))  # type: ignore[arg-type]


GENERATION_TASKS = (
    _task(
        "sentence_ordering", "exact_text", draw_sentence_ordering,
        (
            "Put the steps of a visit in order: {steps}",
            "Order these: {steps} The patient first complains, then is tested, diagnosed, treated.",
            "Which order do these steps take? {steps}",
        ),
        "Arrange by time: {steps}", 2,
    ),
    _task(
        "list_to_sentence", "exact_text", draw_list_to_sentence,
        (
            "Write one sentence from this list: {items}",
            "List: {items}. Turn it into a sentence.",
            "Make a sentence of the complaints {items}",
        ),
        "Sum up in a sentence: {items}",
    ),
    _task(
        "broader_term", "exact_text", draw_broader_term,
        (
            "Which is the {which} term: {first} or {second}?",
            "{first} and {second}: name the {which} term.",
            "Of {first} and {second}, which term is {which}?",
        ),
        "Pick the {which} of two terms: {first}, {second}",
    ),
    _task(
        "synonym_discrimination", "exact_text", draw_synonyms,
        (
            "Do {first} and {second} name one test? yes or no",
            "Synonyms, yes or no: {first}, {second}",
            "Is {first} another name for {second}? yes or no",
        ),
        "One test or two? Say yes if {first} equals {second}, else no",
    ),
    _task(
        "lay_rewriting", "exact_text", draw_lay_rewriting,
        (
            "Rewrite in plain words: {sentence}",
            "Say it for a lay reader: {sentence}",
            "Replace the clinical word by a plain one: {sentence}",
        ),
        "Put this so that anyone understands: {sentence}", 2,
    ),
    _task(
        "redundancy_removal", "exact_text", draw_redundancy,
        (
            "Remove the repeated item: {items}",
            "Each item once, please: {items}",
            "List without repetition: {items}",
        ),
        "Drop what stands twice: {items}",
    ),
    _task(
        "plan_sentence", "exact_text", draw_plan_sentence,
        (
            "Write the plan. disease={disease}; drug={drug}; test={test}",
            "Plan as a sentence: {disease} | {drug} | {test}",
            "From these facts write the plan: disease {disease}, drug {drug}, test {test}",
        ),
        "Compose the plan out of: {disease}, {drug}, {test}",
    ),
)  # fmt: skip
