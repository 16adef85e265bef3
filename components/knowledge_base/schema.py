"""What the knowledge base holds: diseases, drugs and tests, strict and frozen.

Phrases (symptoms, findings, complications …) are lower-case English of one to six words without commas, so that a
list of them can be written and read back unambiguously. References between entries are ids.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Phrase = Annotated[str, StringConstraints(pattern=r"^[^\s,;:.\n][^,;:\n]*[^\s,;:.\n]$", max_length=60)]
Advice = Literal["allowed", "caution", "avoid"]
Population = Literal["child", "pregnancy", "elderly", "renal"]

PREVALENCE_ORDER = ("very_common", "common", "uncommon", "rare")


class Entry(BaseModel):
    """What every entry has: an id, the name people use, and the Chinese name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier
    name: Annotated[str, StringConstraints(min_length=2, max_length=60, pattern=r"^[^\s,;:][^,;:\n]*$")]
    name_zh: Annotated[str, StringConstraints(min_length=1, max_length=30)]


class Disease(Entry):
    """A disease: how it shows, what it is treated with, what is tested."""

    icd10: Annotated[str, StringConstraints(pattern=r"^[A-Z][0-9]{2}(\.[0-9]{1,2})?$")]
    department: Phrase
    prevalence: Literal["very_common", "common", "uncommon", "rare"]
    sex: Literal["any", "female", "male"]
    age_years: Annotated[tuple[int, int], Field(description="usual range at presentation, lowest and highest")]
    summary: Annotated[str, StringConstraints(min_length=20, pattern=r"\.$")]
    symptoms: Annotated[tuple[Phrase, ...], Field(min_length=5, max_length=10)]
    findings: Annotated[tuple[Phrase, ...], Field(min_length=3, max_length=8)]
    first_line_drugs: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=4)]
    indicated_tests: Annotated[tuple[Identifier, ...], Field(min_length=2, max_length=6)]
    complications: Annotated[tuple[Phrase, ...], Field(min_length=2, max_length=6)]
    risk_factors: Annotated[tuple[Phrase, ...], Field(min_length=2, max_length=6)]

    @model_validator(mode="after")
    def _consistent(self) -> "Disease":
        if not 0 <= self.age_years[0] <= self.age_years[1] <= 110:
            raise ValueError(f"age_years {list(self.age_years)} is no range between 0 and 110")
        features = [*self.symptoms, *self.findings]
        repeated = sorted({feature for feature in features if features.count(feature) > 1})
        if repeated:
            raise ValueError(f"named twice among symptoms and findings: {', '.join(repeated)}")
        return self


class PopulationAdvice(BaseModel):
    """Whether a drug may be given to a special population, and why or how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    advice: Advice
    note: Phrase


class Interaction(BaseModel):
    """A drug that interacts, and what happens."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    with_drug: Identifier = Field(alias="with")
    effect: Phrase


class AdultDose(BaseModel):
    """The usual adult dose range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    unit: str
    per: Literal["dose", "day", "kg"]
    frequency: str
    route: str

    @model_validator(mode="after")
    def _ordered(self) -> "AdultDose":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @property
    def text(self) -> str:
        """The dose as written in documents: `250 to 1000 mg per dose`."""
        amount = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"{amount} {self.unit} per {self.per}"


class Drug(Entry):
    """A drug: what it is for, who must not have it, how much."""

    drug_class: Phrase
    indications: Annotated[tuple[Identifier, ...], Field(max_length=20)]
    contraindications: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=5)]
    special_populations: dict[Population, PopulationAdvice]
    interactions: Annotated[tuple[Interaction, ...], Field(max_length=4)]
    adult_dose: AdultDose

    @model_validator(mode="after")
    def _every_population(self) -> "Drug":
        missing = {"child", "pregnancy", "elderly", "renal"} - set(self.special_populations)
        if missing:
            raise ValueError(f"special_populations lacks {', '.join(sorted(missing))}")
        return self


class Test(Entry):
    """An investigation and what it shows."""

    __test__ = False  # not a pytest class

    kind: Literal["laboratory", "imaging", "procedure", "physiology", "questionnaire"]
    shows: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=5)]
    keywords: Annotated[tuple[str, ...], Field(min_length=1, max_length=5, description="names a reader may write")]


class KnowledgeBase(BaseModel):
    """Everything, by id, in the order of the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    diseases: dict[str, Disease]
    drugs: dict[str, Drug]
    tests: dict[str, Test]
