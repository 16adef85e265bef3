"""Where every stage's files lie, relative to the project's root. dvc.yaml names the same paths; a test compares them."""

KNOWLEDGE_BASE = "data/knowledge_base"
WITHDRAWN = "data/withdrawn.jsonl"  # {"id", "time", "who", "why", "repeats"}: what `sources` leaves out

RAW_DOCUMENTS = "artifacts/sources/documents.jsonl"  # Document, with identifiers
RAW_RECORDS = "artifacts/sources/records.jsonl"  # Document (record and dialogue types), with identifiers
GOLD_SPANS = "artifacts/sources/gold_spans.jsonl"  # {"id", "spans": [{"start", "end", "type"}]} of planted identifiers
TRIPLES = "artifacts/sources/triples.jsonl"  # {"subject", "predicate", "object", "subject_type", "object_type"}
QUERIES = "artifacts/sources/queries.jsonl"  # {"id", "text", "kind", "entities"}

DOCUMENTS = "artifacts/curate/documents.jsonl"  # Document, de-identified, graded
REJECTIONS = "artifacts/curate/rejections.jsonl"  # {"id", "filter", "reason"}
CURATION_REPORT = "artifacts/curate/report.json"

SENTENCES = "artifacts/knowledge/sentences.jsonl"  # {"text", "triple", "template"}: realised triples for pre-training; a synthesised one has "triples", their ids
KNOWLEDGE_POINTS = "artifacts/knowledge/points.jsonl"  # {"id", "kind", "entity", "text", "is_covered"}
COVERING = "artifacts/knowledge/covering.jsonl"  # {"point", "source_ids"}: the curated documents that cover a knowledge point; lineage only
COVERAGE = "artifacts/knowledge/coverage.json"

CASES = "artifacts/holdout"  # folder; Case lines
TRAIN_CASES = "artifacts/holdout/train.jsonl"
VALIDATION_CASES = "artifacts/holdout/validation.jsonl"
TEST_CASES = "artifacts/holdout/test.jsonl"
KEPT_OUT = "artifacts/holdout/kept_out.jsonl"  # {"id", "why", "source_ids", "split", "case_ids"}: what documents kept out of validation and test; lineage only

INDEX = "artifacts/index"  # folder of the retrieval index

SAMPLES = "artifacts/instructions/samples.jsonl"  # Sample, in curriculum order
VALIDATION_SAMPLES = "artifacts/instructions/validation.jsonl"  # Sample, made from validation cases
INSTRUCTIONS_REPORT = "artifacts/instructions/report.json"

RATIOS = "artifacts/mixture/ratios.json"  # {"ratios": {group: share}, "trials": [...], "uniform": {...}, "best": {...}}

REWARD_PAIRS = "artifacts/reward_models/pairs.jsonl"  # PreferencePair
REWARD_REPORT = "artifacts/reward_models/report.json"

ANSWERS = "artifacts/answers/samples.jsonl"  # Sample: the chosen answers
ANSWERS_VALIDATION = "artifacts/answers/validation.jsonl"  # Sample: of validation queries
ANSWERS_REPORT = "artifacts/answers/report.json"

COLD_START_SAMPLES = "artifacts/cold_start/samples.jsonl"
REPLAYED = "artifacts/cold_start/replayed.jsonl"  # {"id"} of each sample of sft that is replayed; lineage only

REASONING_PROMPTS = "artifacts/prompts/reasoning.jsonl"  # Case, stage 1
GENERAL_PROMPTS = "artifacts/prompts/general.jsonl"  # Case, stage 2: three reasoning to one general
PROMPTS_REPORT = "artifacts/prompts/report.json"

RESULTS = "artifacts/evaluate/results.parquet"  # one row an item and sampling
METRICS = "artifacts/evaluate/metrics.json"  # {model: {suite: {value, low, high, n}}}
CLAIMS = "artifacts/evaluate/claims.json"  # [{kind, model, against, suite, before, after, difference, low, high, n, is_shown, word, ...}]
BREAKDOWNS = "artifacts/evaluate/breakdowns.json"  # {"cells": [...], "counts": [...]}
REPORT = "artifacts/evaluate/report.html"

BASE = "models/base.json"
IFT = "models/ift.json"
REWARD_HONESTY = "models/reward_honesty.json"
REWARD_HELPFULNESS = "models/reward_helpfulness.json"
SFT = "models/sft.json"
COLD_START = "models/cold_start.json"
GRPO_REASONING = "models/grpo_reasoning.json"
GRPO_GENERAL = "models/grpo_general.json"

# The models of a run, in the order they are made from each other.
MODELS = {
    "base": BASE, "ift": IFT, "sft": SFT, "cold_start": COLD_START,
    "grpo_reasoning": GRPO_REASONING, "grpo_general": GRPO_GENERAL,
}  # fmt: skip
