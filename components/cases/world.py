"""What question makers draw from: the knowledge base with look-ups, the curated passages, the users' queries."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from components.cases.passages import FactPassage
from components.knowledge_base.schema import Disease, Drug, KnowledgeBase, Test

# Kinds of fact a disease has, by the words questions use.
KINDS = ("symptom", "finding", "complication", "risk factor", "drug", "test")


@dataclass(frozen=True)
class World:
    """The knowledge base and texts, with the look-ups question makers need."""

    kb: KnowledgeBase
    passages: tuple[FactPassage, ...] = ()
    queries: tuple[dict[str, Any], ...] = ()
    option_count: int = 4
    noise_passages: int = 2

    @cached_property
    def diseases(self) -> tuple[Disease, ...]:
        """All diseases."""
        return tuple(self.kb.diseases.values())

    @cached_property
    def drugs(self) -> tuple[Drug, ...]:
        """All drugs."""
        return tuple(self.kb.drugs.values())

    @cached_property
    def tests(self) -> tuple[Test, ...]:
        """All tests."""
        return tuple(self.kb.tests.values())

    @cached_property
    def facts(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """(disease id, kind) → its facts as they are written."""
        table = {}
        for disease in self.diseases:
            names = (
                disease.symptoms, disease.findings, disease.complications, disease.risk_factors,
                tuple(self.kb.drugs[drug].name for drug in disease.first_line_drugs),
                tuple(self.kb.tests[test].name for test in disease.indicated_tests),
            )  # fmt: skip
            table.update({(disease.id, kind): tuple(values) for kind, values in zip(KINDS, names, strict=True)})
        return table

    @cached_property
    def true_phrases(self) -> dict[str, frozenset[str]]:
        """Disease id → every phrase that is true of it, with the drugs indicated in it; distractors come from outside."""
        return {
            disease.id: frozenset(
                [fact for kind in KINDS for fact in self.facts[disease.id, kind]]
                + [drug.name for drug in self.drugs if disease.id in drug.indications]
            )
            for disease in self.diseases
        }

    @cached_property
    def single_values(self) -> dict[str, tuple[str, ...]]:
        """Kind with one value a disease (`department`, `code`, `disease`) → all values, sorted."""
        return {
            "department": tuple(sorted({disease.department for disease in self.diseases})),
            "code": tuple(sorted(disease.icd10 for disease in self.diseases)),
            "disease": tuple(sorted(disease.name for disease in self.diseases)),
        }

    @cached_property
    def pools(self) -> dict[str, tuple[str, ...]]:
        """Kind → every fact of that kind over all diseases, sorted."""
        return {kind: tuple(sorted({fact for disease in self.diseases for fact in self.facts[disease.id, kind]})) for kind in KINDS}

    @cached_property
    def owners(self) -> dict[str, frozenset[str]]:
        """Symptom or finding → ids of the diseases that have it."""
        table: dict[str, set[str]] = {}
        for disease in self.diseases:
            for feature in (*disease.symptoms, *disease.findings):
                table.setdefault(feature, set()).add(disease.id)
        return {feature: frozenset(owners) for feature, owners in table.items()}

    @cached_property
    def passages_of(self) -> dict[tuple[str, str], list[FactPassage]]:
        """(disease id, kind) → the curated passages that state facts of that kind about it."""
        table: dict[tuple[str, str], list[FactPassage]] = {}
        for passage in self.passages:
            table.setdefault((passage.disease, passage.kind), []).append(passage)
        return table

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Contraindications that describe a patient before treatment, sorted (not `hypersensitivity to the drug`)."""
        phrases = {phrase for drug in self.drugs for phrase in drug.contraindications}
        return tuple(sorted(phrase for phrase in phrases if not re.search(r"to the drug|use|child|infant|neonat", phrase)))

    @cached_property
    def decoys(self) -> dict[str, tuple[str, ...]]:
        """Test id → longer keywords of other tests that contain one of its own (`CT` in `CT pulmonary angiogram`)."""
        words = {test.id: test_keywords(test) for test in self.tests}
        return {
            test.id: tuple(
                sorted(
                    other for name, others in words.items() if name != test.id
                    for other in others if any(f" {own} " in f" {other} " for own in words[test.id])
                )
            )
            for test in self.tests
        }  # fmt: skip

    def draw_disease(self, random: Random) -> Disease:
        """Draw a disease."""
        return random.choice(self.diseases)

    def draw_features(self, disease: Disease, count: int, random: Random) -> tuple[str, ...] | None:
        """Draw symptoms and findings that together fit this disease alone, in random order; None where they do not."""
        features = (*disease.symptoms, *disease.findings)
        drawn = tuple(random.sample(features, min(count, len(features))))
        fitting = frozenset.intersection(*(self.owners[feature] for feature in drawn))
        return drawn if len(fitting) == 1 else None

    def draw_distractors(self, disease: Disease, kind: str, count: int, random: Random) -> list[str]:
        """Draw facts of a kind that are not true of the disease (nor, for drugs, indicated in it)."""
        own = self.true_phrases[disease.id]
        drawn: list[str] = []
        while len(drawn) < count:
            fact = random.choice(self.pools[kind])
            if fact not in own and fact not in drawn:
                drawn.append(fact)
        return drawn

    def acceptable_drugs(self, disease: Disease, conditions: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return names of first-line drugs that suit a patient of these populations and conditions, and that do not."""
        suitable, unsuitable = [], []
        for identifier in disease.first_line_drugs:
            drug = self.kb.drugs[identifier]
            (unsuitable if is_contraindicated(drug, conditions) else suitable).append(drug.name)
        return suitable, unsuitable


def is_contraindicated(drug: Drug, conditions: Sequence[str]) -> bool:
    """Say whether a drug is to be avoided for one of the conditions: a special population, or a contraindication."""
    for condition in conditions:
        advice = drug.special_populations.get(condition)  # type: ignore[call-overload]
        if condition in drug.contraindications or (advice is not None and advice.advice == "avoid"):
            return True
        if condition == "pregnancy" and "pregnancy" in drug.contraindications:
            return True
    return False


def test_keywords(test: Test) -> tuple[str, ...]:
    """Return the names a test may be written by, in lower case, each once."""
    return tuple(dict.fromkeys(word.casefold() for word in (test.name, *test.keywords)))


test_keywords.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name
