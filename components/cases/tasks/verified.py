"""The four reasoning tasks with verifiable answers: diagnosis, drug choice, test ordering, examination question.

Each reference holds what its verifier reads and `reasoning`, the short sentence cold start puts in the think block.
"""

import json
from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.conditions import condition_phrase, draw_condition
from components.cases.tasks.presentation import draw_presentation
from components.cases.tasks.questions import draw_choice_question
from components.cases.wording import joined
from components.cases.world import World, test_keywords

TESTS_WANTED = 3
DRUGS_WANTED = 2


def draw_diagnosis(world: World, random: Random) -> Draft | None:
    """Three or four features of one disease → its ICD-10 code."""
    drawn = draw_presentation(world, random, counts=(3, 4))
    if drawn is None:
        return None
    reasoning = f"{drawn.features[0]} and {drawn.features[1]} suggest {drawn.disease.name}"
    return Draft(
        combination=drawn.combination,
        entities=(drawn.disease.id,),
        fields=drawn.fields,
        answer=json.dumps({"icd10": drawn.disease.icd10}),
        reference={"icd10": drawn.disease.icd10, "reasoning": reasoning},
    )


def draw_drug_choice(world: World, random: Random) -> Draft | None:
    """A disease and what the patient is or has → suitable first-line drugs."""
    disease = world.draw_disease(random)
    condition = draw_condition(world, disease, random)
    suitable, unsuitable = world.acceptable_drugs(disease, [condition] if condition else [])
    if condition is None or not suitable:
        return None
    chosen = suitable[:DRUGS_WANTED]
    return Draft(
        combination=combination_of(disease.id, "drug_choice", condition or "none"),
        entities=(disease.id, *disease.first_line_drugs),
        fields={"disease": disease.name, "who": condition_phrase(condition)},
        answer=json.dumps({"drugs": chosen}),
        reference={
            "acceptable": suitable,
            "forbidden": unsuitable,
            "required": len(chosen),
            "reasoning": f"avoid {joined(unsuitable)}" if unsuitable else "nothing to avoid",
        },
    )


def draw_test_ordering(world: World, random: Random) -> Draft | None:
    """Two or three features of one disease → the tests that are indicated."""
    drawn = draw_presentation(world, random, counts=(2, 3))
    if drawn is None:
        return None
    tests = [world.kb.tests[test] for test in drawn.disease.indicated_tests]
    wanted = [test.name for test in tests[:TESTS_WANTED]]
    return Draft(
        combination=drawn.combination,
        entities=(drawn.disease.id, *drawn.disease.indicated_tests),
        fields=drawn.fields,
        answer=f"tests: {'; '.join(wanted)}",
        reference={
            "tests": [list(test_keywords(test)) for test in tests],
            "required": len(wanted),
            "decoys": sorted({decoy for test in tests for decoy in world.decoys[test.id]}),
            "reasoning": f"{drawn.features[0]} suggests {drawn.disease.name}",
        },
    )


def draw_exam_question(world: World, random: Random) -> Draft | None:
    """A question about a named disease with four options → the right option's text."""
    return draw_choice_question(world, random, kinds=("symptom", "finding", "complication", "risk factor", "drug", "test", "department"))


DIAGNOSIS = Task(
    name="diagnosis", suite="verified", dimension="analysis", level=3, verifier="icd_diagnosis", draw=draw_diagnosis,
    train_templates=(
        "{A_patient} has {complaints}. Reason, then give the ICD-10 code as JSON.",
        "Patient: {patient}. Complaints: {complaints}. Think, then code the diagnosis as JSON.",
        "{A_patient} presents with {complaints}. What is the diagnosis? Think, then give ICD-10 JSON.",
    ),
    held_out_templates=("Seen today: {a_patient} with {complaints}. Reason and code the illness as ICD-10 JSON.",),
)  # fmt: skip

DRUG_CHOICE = Task(
    name="drug_choice", suite="verified", dimension="analysis", level=3, verifier="drug_choice", draw=draw_drug_choice,
    train_templates=(
        "Disease: {disease}. Patient: {who}. Reason, then list first-line drugs as JSON.",
        "Choose first-line drugs for {disease}. Note: {who}. Think, then answer in JSON.",
        "A patient has {disease}. Also: {who}. Which drugs come first? Think, then give JSON.",
    ),
    held_out_templates=("Prescribe for {disease} ({who}). Reason, then give the drugs as JSON.",),
)  # fmt: skip

TEST_ORDERING = Task(
    name="test_ordering", suite="verified", dimension="analysis", level=3, verifier="test_ordering", draw=draw_test_ordering,
    train_templates=(
        "{A_patient} has {complaints}. Reason, then order the tests.",
        "Patient: {patient}. Complaints: {complaints}. Think, then name the tests to order.",
        "{A_patient} presents with {complaints}. Which tests are indicated? Think first.",
    ),
    held_out_templates=("Seen today: {a_patient} with {complaints}. Reason and order suitable tests.",),
)  # fmt: skip

EXAM_QUESTION = Task(
    name="exam_question", suite="verified", dimension="analysis", level=2, verifier="exam_answer", draw=draw_exam_question,
    train_templates=(
        "{question} Options: {options}. Reason, then answer in JSON.",
        "Exam. {question} Options: {options}. Think, then give the answer as JSON.",
        "Think, then choose. {question} Options: {options}. Answer in JSON.",
    ),
    held_out_templates=("Consider this. {question} Options: {options}. Reason and reply in JSON.",),
)  # fmt: skip

VERIFIED_TASKS = (DIAGNOSIS, DRUG_CHOICE, TEST_ORDERING, EXAM_QUESTION)
