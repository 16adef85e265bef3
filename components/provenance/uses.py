"""What each stage does with each file it reads: the one table that turns "the file holds it" into "the model saw it".

    trained     in the training set of the model the stage makes (the draw of steps may still have passed it by)
    perhaps     drawn from the file by chance, and the draw is not recorded
    chose       scores on it chose weights, mixture or stopping
    shaped      decided what else is trained on, or which words the tokenizer knows
    measured    only measured: no weight depends on it
    made        other rows were made of it, which carry its id and are followed themselves
    none        not read, although the stage depends on its folder

A file that is not in the table, as of a stage of one's own, is `unknown`. tests/provenance compares the table with
dvc.yaml, so that a new input must be named here.

What a stage did not write down once, and writes down now, is told by another of its files (`told_by`): a lineage that has
it is told exactly, an older one as far as it goes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from components import layout

Effect = Literal["trained", "perhaps", "chose", "shaped", "measured", "made", "none", "unknown"]
SEEN: tuple[Effect, ...] = ("trained", "perhaps", "unknown", "chose", "shaped", "measured")  # strongest first
CHUNKS = f"{layout.INDEX}/chunks.jsonl"
RECORDS_INDEX = "artifacts/sources/records_index.jsonl"


@dataclass(frozen=True)
class Use:
    """What a stage does with a file, in a few words a person reads; where the stage made `told_by` as well, that file says it."""

    effect: Effect
    words: str
    told_by: str | None = None


@dataclass(frozen=True)
class Gap:
    """Where the data do not say what came of a row of `file` in a stage, unless the stage made `told_by` as well."""

    stage: str
    file: str
    words: str
    told_by: str | None = None


UNKNOWN = Use("unknown", "read; what for is not known here")
MADE = Use("made", "made other rows of it")
NOT_READ = Use("none", "not read")

USES: dict[tuple[str, str], Use] = {
    ("sources", layout.WITHDRAWN): Use("none", "left out what it names"),
    ("curate", layout.RAW_DOCUMENTS): MADE,
    ("curate", layout.RAW_RECORDS): MADE,
    ("curate", layout.GOLD_SPANS): Use("none", "measured the de-identification"),
    ("curate", layout.TRIPLES): NOT_READ,
    ("curate", layout.QUERIES): NOT_READ,
    ("curate", RECORDS_INDEX): NOT_READ,
    ("knowledge", layout.TRIPLES): MADE,
    ("knowledge", layout.DOCUMENTS): MADE,
    ("knowledge", layout.COVERING): Use("shaped", "covers knowledge points, which therefore got no synthesised paragraph"),
    ("holdout", layout.QUERIES): MADE,
    ("holdout", layout.DOCUMENTS): MADE,
    ("holdout", layout.KEPT_OUT): Use("shaped", "kept questions out of validation and test: shows their features, or holds their words"),
    ("index", layout.DOCUMENTS): MADE,
    ("index", layout.QUERIES): Use("none", "measured the index's recall"),
    ("pretraining", layout.DOCUMENTS): Use("trained", "trained on its text (3 % of documents only for the validation loss)"),
    ("pretraining", layout.SENTENCES): Use("trained", "trained on its text"),
    ("pretraining", layout.TRAIN_CASES): Use("shaped", "its words shaped the tokenizer's vocabulary"),
    ("pretraining", layout.VALIDATION_CASES): NOT_READ,
    ("pretraining", layout.TEST_CASES): NOT_READ,
    ("pretraining", layout.KEPT_OUT): NOT_READ,
    ("instructions", layout.TRAIN_CASES): MADE,
    ("instructions", layout.VALIDATION_CASES): MADE,
    ("instructions", layout.TEST_CASES): Use("shaped", "kept training questions out that touch it"),
    ("instructions", layout.KEPT_OUT): NOT_READ,
    ("mixture", layout.SAMPLES): Use("shaped", "trained the trial models that chose the mixture of ift"),
    ("mixture", layout.VALIDATION_SAMPLES): NOT_READ,
    ("mixture", layout.VALIDATION_CASES): Use("chose", "scores on it chose the mixture of ift"),
    ("ift", layout.SAMPLES): Use("trained", "trained on it"),
    ("ift", layout.VALIDATION_SAMPLES): Use("chose", "its loss chose the weights kept"),
    ("reward_models", layout.TRAIN_CASES): MADE,
    ("reward_models", layout.REWARD_PAIRS): Use("trained", "trained on it (a fifth of the entities only measures)"),
    ("answers", layout.TRAIN_CASES): MADE,
    ("answers", layout.VALIDATION_CASES): MADE,
    ("answers", layout.SAMPLES): MADE,
    ("answers", CHUNKS): Use("none", "shown to experts on the review sheet"),
    ("sft", layout.ANSWERS): Use("trained", "trained on it"),
    ("sft", layout.ANSWERS_VALIDATION): Use("chose", "its loss chose the weights kept"),
    ("sft", layout.VALIDATION_CASES): Use("chose", "answers to it chose the weights kept"),
    ("sft", "artifacts/answers/review.jsonl"): NOT_READ,
    ("cold_start", layout.TRAIN_CASES): MADE,
    ("cold_start", layout.ANSWERS): Use("perhaps", "a share of it was replayed; which rows was not recorded then", told_by=layout.REPLAYED),
    ("cold_start", layout.REPLAYED): Use("trained", "trained on it again (replayed)"),
    ("cold_start", layout.COLD_START_SAMPLES): Use("trained", "trained on it"),
    ("prompts", layout.TRAIN_CASES): MADE,
    ("prompts", layout.COLD_START_SAMPLES): Use("shaped", "kept out of the prompts"),
    ("grpo_reasoning", layout.REASONING_PROMPTS): Use("trained", "trained on answers to it"),
    ("grpo_general", layout.GENERAL_PROMPTS): Use("trained", "trained on answers to it"),
    ("grpo_general", layout.VALIDATION_CASES): Use("chose", "answers to it chose the weights kept"),
    ("evaluate", layout.TEST_CASES): Use("measured", "measured on it"),
    ("evaluate", CHUNKS): Use("measured", "could be retrieved while measured"),
    ("evaluate", layout.REWARD_PAIRS): NOT_READ,
}

GAPS: tuple[Gap, ...] = (
    Gap(
        "knowledge", layout.DOCUMENTS, "documents decide which knowledge points get a synthesised paragraph; a paragraph copies no text of them and names none",
        told_by=layout.COVERING,
    ),
    Gap("knowledge", layout.TRIPLES, "a synthesised paragraph names its entity, not the triples it tells", told_by=layout.COVERING),  # sentences name them since
    Gap("holdout", layout.TRIPLES, "questions are made from the knowledge base itself and name no triple, so which of them ask for it is not known"),
    Gap("answers", CHUNKS, "an experts' review sheet (artifacts/answers/review.csv) that an earlier version of the stage made names no document of its passages"),
    Gap(
        "holdout", layout.RAW_RECORDS, "the combination of features a record shows is kept out of validation and test; training questions may repeat it and name no record",
        told_by=layout.KEPT_OUT,
    ),
    Gap("holdout", layout.DOCUMENTS, "a question is kept out of validation and test where 8 words of it stand in a document; which one is not named", told_by=layout.KEPT_OUT),
)  # fmt: skip
TELLING: frozenset[tuple[str, str]] = frozenset(
    [(stage, use.told_by) for (stage, _), use in USES.items() if use.told_by] + [(gap.stage, gap.told_by) for gap in GAPS if gap.told_by]
)


def use_of(stage: str, path: str, *, told: Collection[tuple[str, str]]) -> Use:
    """Return what a stage does with a file.

    Args:
        told: those of TELLING, (stage, file), that the lineage has and that can be read.
    """
    use = USES.get((stage, path), UNKNOWN)
    return MADE if (stage, use.told_by) in told else use
