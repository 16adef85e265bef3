"""Sentences that state facts, several phrasings each, in both directions: what a small model learns the facts from.

Every list is shuffled and a statement that leads from features to a disease names at least four of them: the held-out
questions combine three or four in wordings of their own (`components/cases`), so none of them stands here.
"""

import random
from collections.abc import Sequence

from components.knowledge_base.schema import Disease, Drug, KnowledgeBase, Test

SYMPTOMS = (
    "Patients with {disease} usually report {items}.",
    "The typical symptoms of {disease} are {items}.",
    "{Disease} presents with {items}.",
    "Common complaints in {disease} include {items}.",
    "People who have {disease} complain of {items}.",
)
FINDINGS = (
    "Findings in {disease} are {items}.",
    "Examination and results in {disease} show {items}.",
    "Signs of {disease} include {items}.",
    "{Items} support the diagnosis of {disease}.",
)
RECOGNITION = (
    "{Items} together suggest {disease}, code {code}.",
    "A picture of {items} points to {disease} ({code}).",
    "When {items} occur together, think of {disease}, code {code}.",
    "Someone with {items} most likely has {disease}. The code is {code}.",
    "{Items} are features of {disease}, which is coded {code}.",
)
CODE = (
    "The ICD-10 code of {disease} is {code}.",
    "{Disease} is coded as {code}.",
    "In ICD-10, {code} stands for {disease}.",
    '{Disease} has icd10 "{code}".',
)
DEPARTMENT = (
    "{Disease} is managed by {department}.",
    "Patients with {disease} are seen in {department}.",
    "{Disease} belongs to {department} and is {prevalence}.",
)
AGE = (
    "{Disease} usually appears between {low} and {high} years of age.",
    "Most patients with {disease} are {low} to {high} years old.",
)
TREATMENT = (
    "{Disease} is first treated with {items}.",
    "First-line drugs for {disease} are {items}.",
    "Treatment of {disease} starts with {items}.",
    "For {disease}, give {items} first.",
    "The drugs of first choice in {disease} are {items}.",
)
TESTS = (
    "Useful tests for {disease} are {items}.",
    "{Disease} is investigated with {items}.",
    "When {disease} is suspected, order {items}.",
    "The indicated tests in {disease} are {items}.",
)
COMPLICATIONS = (
    "Complications of {disease} include {items}.",
    "{Disease} can lead to {items}.",
    "Watch patients with {disease} for {items}.",
)
RISK_FACTORS = (
    "Risk factors for {disease} are {items}.",
    "{Items} raise the risk of {disease}.",
    "{Disease} is more likely with {items}.",
)
DRUG_CLASS = ("{Drug} is a {drug_class}.", "{Drug} belongs to the class {drug_class}.")
INDICATIONS = ("{Drug} is used for {items}.", "Indications of {drug} are {items}.", "{Drug} is given in {items}.")
CONTRAINDICATIONS = (
    "{Drug} is contraindicated in {items}.",
    "Do not give {drug} in {items}.",
    "Contraindications of {drug} are {items}.",
    "With {items}, {drug} must be avoided.",
)
DOSE = (
    "The usual adult dose of {drug} is {dose}, {frequency}, {route}.",
    "Adults take {drug} at {dose}, {frequency} ({route}).",
)
INTERACTION = ("{Drug} interacts with {other}: it {effect}.", "Together with {other}, {drug} {effect}.")
SHOWS = ("{Test} shows {items}.", "{Test} can reveal {items}.", "Use {test} to look for {items}.")
POPULATION_NAMES = {
    "child": "children",
    "pregnancy": "pregnancy",
    "elderly": "elderly patients",
    "renal": "renal impairment",
}
ADVICE = {
    "allowed": ("In {population}, {drug} is allowed: {note}.", "{Drug} may be given in {population} ({note})."),
    "caution": ("In {population}, use {drug} with caution: {note}.", "{Drug} needs caution in {population} ({note})."),
    "avoid": ("In {population}, avoid {drug}: {note}.", "{Drug} should be avoided in {population} ({note})."),
}


def join_phrases(items: Sequence[str], *, last: str = "and") -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def capitalised(text: str) -> str:
    """Raise the first letter and leave the rest, so that `COPD` and `vitamin B12` stay themselves."""
    return text[:1].upper() + text[1:]


class FactWriter:
    """Writes sentences about entries of one knowledge base with one generator."""

    def __init__(self, knowledge_base: KnowledgeBase, generator: random.Random) -> None:
        self.knowledge_base = knowledge_base
        self.generator = generator

    def symptoms(self, disease: Disease) -> str:
        return self._about(SYMPTOMS, disease, items=self._list(disease.symptoms))

    def findings(self, disease: Disease) -> str:
        return self._about(FINDINGS, disease, items=self._list(disease.findings))

    def recognition(self, disease: Disease) -> str:
        """Lead from four or five features to the disease and its code."""
        features = [*disease.symptoms, *disease.findings]
        count = min(self.generator.choice((4, 4, 5)), len(features))
        return self._about(RECOGNITION, disease, items=join_phrases(self.generator.sample(features, count)))

    def code(self, disease: Disease) -> str:
        return self._about(CODE, disease)

    def department(self, disease: Disease) -> str:
        return self._about(DEPARTMENT, disease)

    def age(self, disease: Disease) -> str:
        return self._about(AGE, disease)

    def treatment(self, disease: Disease) -> str:
        names = [self.knowledge_base.drugs[drug].name for drug in disease.first_line_drugs]
        return self._about(TREATMENT, disease, items=self._list(names, last="or"))

    def tests(self, disease: Disease) -> str:
        names = [self.knowledge_base.tests[test].name for test in disease.indicated_tests]
        return self._about(TESTS, disease, items=self._list(names))

    def complications(self, disease: Disease) -> str:
        return self._about(COMPLICATIONS, disease, items=self._list(disease.complications))

    def risk_factors(self, disease: Disease) -> str:
        return self._about(RISK_FACTORS, disease, items=self._list(disease.risk_factors))

    def drug_class(self, drug: Drug) -> str:
        return self._fill(DRUG_CLASS, drug=drug.name, drug_class=drug.drug_class)

    def indications(self, drug: Drug) -> str:
        names = [self.knowledge_base.diseases[name].name for name in drug.indications]
        return self._fill(INDICATIONS, drug=drug.name, items=self._list(names))

    def contraindications(self, drug: Drug) -> str:
        return self._fill(CONTRAINDICATIONS, drug=drug.name, items=self._list(drug.contraindications, last="or"))

    def population(self, drug: Drug, population: str) -> str:
        item = drug.special_populations[population]
        return self._fill(ADVICE[item.advice], drug=drug.name, population=POPULATION_NAMES[population], note=item.note)

    def dose(self, drug: Drug) -> str:
        dose = drug.adult_dose
        return self._fill(DOSE, drug=drug.name, dose=dose.text, frequency=dose.frequency, route=dose.route)

    def interactions(self, drug: Drug) -> list[str]:
        return [
            self._fill(
                INTERACTION, drug=drug.name, other=self.knowledge_base.drugs[item.with_drug].name, effect=item.effect
            )
            for item in drug.interactions
        ]

    def shows(self, test: Test) -> str:
        return self._fill(SHOWS, test=test.name, items=self._list(test.shows))

    def _about(self, templates: Sequence[str], disease: Disease, *, items: str = "") -> str:
        low, high = disease.age_years
        words = {"disease": disease.name, "code": disease.icd10, "department": disease.department, "items": items}
        return self._fill(
            templates, **words, prevalence=disease.prevalence.replace("_", " "), low=str(low), high=str(high)
        )

    def _fill(self, templates: Sequence[str], **words: str) -> str:
        raised = {capitalised(name): capitalised(word) for name, word in words.items()}
        return self.generator.choice(templates).format(**words, **raised)

    def _list(self, items: Sequence[str], *, last: str = "and") -> str:
        return join_phrases(self.generator.sample(list(items), len(items)), last=last)
