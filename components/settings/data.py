"""Settings of the data stages: sources, curate, knowledge, holdout, index."""

from typing import Literal

from pydantic import Field

from components.settings.base import Section


class SourcesSettings(Section):
    """Where raw sources come from."""

    folder: str | None = Field(default=None, description="a folder of the user's own sources; null: made from the knowledge base")
    diseases: int = Field(default=60, ge=8, description="diseases of the knowledge base used; the rest stay unread")
    documents_per_disease: int = Field(default=12, ge=3, description="documents about each disease, over all types")
    records_per_disease: int = Field(default=6, ge=1, description="outpatient and inpatient records and dialogues")
    queries: int = Field(default=600, ge=20, description="user queries")
    exact_duplicate_share: float = Field(default=0.05, ge=0, le=0.5, description="share of documents repeated word for word")
    near_duplicate_share: float = Field(default=0.05, ge=0, le=0.5, description="share repeated with small edits")
    noise_share: float = Field(default=0.05, ge=0, le=0.5, description="share of broken, off-topic or boilerplate documents")
    contradiction_share: float = Field(default=0.03, ge=0, le=0.5, description="share of low-authority documents that contradict the rest")


class CurateSettings(Section):
    """Cleaning, de-identification, de-duplication, grading."""

    near_duplicate_similarity: float = Field(default=0.7, gt=0, le=1, description="Jaccard similarity of word 5-grams")
    minhash_bands: int = Field(default=14, ge=1)
    minhash_rows: int = Field(default=8, ge=1)
    minimum_words: int = Field(default=8, ge=1)
    maximum_symbol_share: float = Field(default=0.3, gt=0, le=1, description="share of characters neither letters, digits nor spaces")
    maximum_repeated_line_share: float = Field(default=0.5, gt=0, le=1)
    minimum_medical_share: float = Field(default=0.02, ge=0, le=1, description="share of words that are medical terms")
    languages: tuple[str, ...] = Field(default=("en",), description="languages kept; all are de-identified and measured")
    high_impact: float = Field(default=10.0, gt=0, description="impact factor from which literature is graded B; twice this: A")
    low_impact: float = Field(default=3.0, gt=0, description="impact factor below which literature is graded D")
    outdated_years: int = Field(default=12, ge=1, description="age at which guidelines, pathways and inserts lose a grade")


class KnowledgeSettings(Section):
    """Triples to sentences, knowledge points, probes."""

    sentences_per_triple: int = Field(default=3, ge=1)
    probes_per_set: int = Field(default=1000, ge=10, description="fact probes, and as many concept probes")
    probe_options: int = Field(default=4, ge=2, le=8)


class HoldoutSettings(Section):
    """How cases are split, and how many of them each suite gets at most."""

    validation_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.25, gt=0, lt=0.5)
    train_cases: dict[str, int] = Field(
        default={"exam": 100, "verified": 1200, "ability": 400, "grounded": 800, "preference": 1200, "safety": 150, "probes": 0},
        description="training cases of each task of a suite, at most",
    )
    validation_cases_per_suite: int = Field(default=400, ge=10)
    noise_passages: int = Field(default=2, ge=0, le=6, description="irrelevant or contradicting passages in a grounded question")
    test_cases: dict[str, int] = Field(
        default={"probes": 1600, "exam": 1600, "verified": 2400, "ability": 2000, "grounded": 800, "preference": 800, "safety": 400},
        description="cases of each suite in the test split, at most",
    )


class IndexSettings(Section):
    """Chunking, embedding and fusion."""

    chunk_words: int = Field(default=80, ge=10)
    chunk_overlap_words: int = Field(default=16, ge=0)
    fusion_k: int = Field(default=60, ge=1, description="reciprocal rank fusion constant")
    candidates: int = Field(default=50, ge=1, description="passages each retriever hands to the fusion")
    authority_weights: dict[Literal["A", "B", "C", "D", "E"], float] = Field(
        default={"A": 1.0, "B": 0.95, "C": 0.9, "D": 0.75, "E": 0.4}
    )
    half_life_years: float = Field(default=20.0, gt=0, description="after this long a passage's fused score is halved")
