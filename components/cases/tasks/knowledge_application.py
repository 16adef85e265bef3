"""Knowledge application: recalling and using facts about diseases, drugs and tests (report §3.1, third dimension)."""

from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.lay_terms import LAY_TERMS
from components.cases.world import World, is_contraindicated

_WHO = {"child": "a child", "pregnancy": "pregnancy", "elderly": "old age", "renal": "renal impairment"}


def draw_listing(kind: str, wanted: int) -> object:
    """Return a draw function: a disease → `wanted` of its facts of a kind."""

    def draw(world: World, random: Random) -> Draft | None:
        disease = world.draw_disease(random)
        facts = world.facts[disease.id, kind]
        given = facts[:wanted]
        items = [*facts, *disease.findings] if kind == "symptom" else list(facts)
        combination = combination_of(disease.id, f"all_{kind.replace(' ', '_')}")
        return Draft(combination, (disease.id,), {"disease": disease.name}, "; ".join(given), {"items": items, "required": len(given)})

    return draw


def draw_icd_coding(world: World, random: Random) -> Draft | None:
    """A disease's name → its code."""
    disease = world.draw_disease(random)
    combination = combination_of(disease.id, "code", disease.icd10)
    return Draft(combination, (disease.id,), {"disease": disease.name}, disease.icd10, {"icd10": disease.icd10})


def draw_responsible_department(world: World, random: Random) -> Draft | None:
    """A disease's name → its department."""
    disease = world.draw_disease(random)
    combination = combination_of(disease.id, "department", disease.department)
    return Draft(combination, (disease.id,), {"disease": disease.name}, disease.department, {"accept": [disease.department]})


def draw_drug_class(world: World, random: Random) -> Draft | None:
    """A drug → its class."""
    drug = random.choice(world.drugs)
    combination = combination_of(drug.id, "drug_class", drug.drug_class)
    return Draft(combination, (drug.id,), {"drug": drug.name}, drug.drug_class, {"accept": [drug.drug_class]})


def draw_drug_indication(world: World, random: Random) -> Draft | None:
    """A drug → one disease it treats."""
    drug = random.choice(world.drugs)
    names = [world.kb.diseases[disease].name for disease in drug.indications]
    if not names:
        return None
    answer = names[0]
    return Draft(combination_of(drug.id, "indications"), (drug.id,), {"drug": drug.name}, answer, {"accept": names})


def draw_contraindication(world: World, random: Random) -> Draft | None:
    """A drug and a condition → whether the drug is contraindicated."""
    drug = random.choice(world.drugs)
    own = [phrase for phrase in drug.contraindications if phrase in world.conditions]
    if own and random.random() < 0.5:
        condition, answer = random.choice(own), "yes"
    else:
        condition, answer = random.choice(world.conditions), "no"
        if is_contraindicated(drug, [condition]) or (condition == "pregnancy" and drug.special_populations["pregnancy"].advice != "allowed"):
            return None
    combination = combination_of(drug.id, "contraindication", condition)
    return Draft(combination, (drug.id,), {"drug": drug.name, "condition": condition}, answer, {"accept": [answer]})


def draw_population_advice(world: World, random: Random) -> Draft | None:
    """A drug and a population → allowed, caution or avoid."""
    drug = random.choice(world.drugs)
    population = random.choice(tuple(_WHO))
    advice = drug.special_populations[population].advice
    fields = {"drug": drug.name, "who": _WHO[population]}
    return Draft(combination_of(drug.id, "population", population), (drug.id,), fields, advice, {"accept": [advice]})


def draw_interaction(world: World, random: Random) -> Draft | None:
    """Two drugs → whether they are known to interact."""
    first = random.choice(world.drugs)
    partners = {item.with_drug for item in first.interactions}
    if partners and random.random() < 0.6:
        second, answer = world.kb.drugs[random.choice(sorted(partners))], "yes"
    else:
        second, answer = random.choice(world.drugs), "no"
        if second.id == first.id or second.id in partners or first.id in {item.with_drug for item in second.interactions}:
            return None
    pair = [first.name, second.name]
    random.shuffle(pair)
    combination = combination_of("interaction", "drugs", first.id, second.id)
    return Draft(combination, (first.id, second.id), {"first": pair[0], "second": pair[1]}, answer, {"accept": [answer]})


def draw_terminology(world: World, random: Random) -> Draft | None:
    """A plain or a clinical word, for the other audience → its counterpart."""
    clinical, plain = random.choice(LAY_TERMS)
    to_clinician = random.random() < 0.5
    fields = {"term": plain if to_clinician else clinical, "audience": "clinician" if to_clinician else "patient"}
    answer = clinical if to_clinician else plain
    combination = combination_of("term", fields["audience"], clinical)
    return Draft(combination, (f"term:{clinical}",), fields, answer, {"accept": [answer]})


def draw_test_purpose(world: World, random: Random) -> Draft | None:
    """A test → what it shows."""
    test = random.choice(world.tests)
    combination = combination_of(test.id, "shows")
    return Draft(combination, (test.id,), {"test": test.name}, "; ".join(test.shows[:2]), {"items": list(test.shows), "required": min(2, len(test.shows))})


def _task(name: str, verifier: str, draw: object, train: tuple[str, ...], held_out: str, level: int = 2) -> Task:
    return Task(name, "ability", "knowledge_application", level, verifier, draw, train, (held_out,))  # type: ignore[arg-type]


def _listing(name: str, kind: str, wanted: int, noun: str, phrases: tuple[str, str, str]) -> Task:
    train = (f"{phrases[0]} {{disease}}.", f"{phrases[1]} {{disease}}?", f"{{disease}}: {phrases[2]}")
    return _task(name, "listing", draw_listing(kind, wanted), train, f"Write down {noun} of {{disease}}.")


KNOWLEDGE_TASKS = (
    _listing("symptom_listing", "symptom", 3, "symptoms", ("List three symptoms of", "Which symptoms has", "typical symptoms")),
    _listing("finding_listing", "finding", 2, "findings", ("List two findings in", "What does examination show in", "typical findings")),
    _listing("drug_listing", "drug", 2, "first-line drugs", ("List first-line drugs for", "Which drugs are first choice in", "first-line drugs")),
    _listing("test_listing", "test", 2, "useful tests", ("List two tests for", "Which tests confirm", "tests to order")),
    _listing("complication_listing", "complication", 2, "complications", ("List two complications of", "Which complications has", "complications")),
    _listing("risk_factor_listing", "risk factor", 2, "risk factors", ("List two risk factors for", "What raises the risk of", "risk factors")),
    _task(
        "icd_coding", "icd_diagnosis", draw_icd_coding,
        ("ICD-10 code of {disease}:", "Code {disease} in ICD-10.", "Which ICD-10 code stands for {disease}?"),
        "Give the ICD-10 entry of {disease}.",
    ),
    _task(
        "responsible_department", "exact_text", draw_responsible_department,
        ("Department for {disease}:", "Who looks after {disease}? Name the department.", "{disease} belongs to which department?"),
        "Name the department responsible for {disease}.", 1,
    ),
    _task(
        "drug_class", "exact_text", draw_drug_class,
        ("Class of {drug}:", "What kind of drug is {drug}?", "To which class does {drug} belong?"),
        "Name the drug class of {drug}.", 1,
    ),
    _task(
        "drug_indication", "exact_text", draw_drug_indication,
        ("Name a disease treated with {drug}.", "What is {drug} used for?", "{drug} is given in:"),
        "Give one indication of {drug}.",
    ),
    _task(
        "contraindication_check", "exact_text", draw_contraindication,
        ("Is {drug} contraindicated in {condition}? yes or no", "{condition}: must {drug} be withheld, yes or no?", "Yes or no: {condition} rules out {drug}"),
        "Should {drug} be refused to someone with {condition}? yes or no",
    ),
    _task(
        "population_advice", "exact_text", draw_population_advice,
        ("{drug} in {who}: allowed, caution or avoid?", "Advice on {drug} in {who} (allowed, caution, avoid):", "May {drug} be given in {who}? allowed, caution or avoid"),
        "State allowed, caution or avoid for {drug} in {who}",
    ),
    _task(
        "interaction_check", "exact_text", draw_interaction,
        ("Do {first} and {second} interact? yes or no", "{first} with {second}: interaction, yes or no?", "Yes or no: {first} interacts with {second}"),
        "Is combining {first} and {second} a known interaction? yes or no",
    ),
    _task(
        "audience_terminology", "exact_text", draw_terminology,
        ("Word for {term} to use with a {audience}:", "How would you say {term} to a {audience}?", "{term}, for a {audience}:"),
        "Choose the term a {audience} expects for {term}", 1,
    ),
    _task(
        "test_purpose", "listing", draw_test_purpose,
        ("What does {test} show?", "Results {test} can show:", "Why order {test}? Name what it shows."),
        "Name what {test} reveals.",
    ),
)  # fmt: skip
