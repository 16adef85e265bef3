"""The table of uses against dvc.yaml: every file with ids that a stage reads is named, and nothing else."""

from pathlib import Path

import pytest
import yaml

from components import layout
from components.pipeline.graph import overlaps
from components.provenance.uses import CHUNKS, GAPS, RECORDS_INDEX, SEEN, USES
from components.stage import declared_stages

ROOT = Path(__file__).parents[2]
DECLARED = declared_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))
FILES = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str) and value.endswith(".jsonl")}
FILES |= {CHUNKS, RECORDS_INDEX, "artifacts/answers/review.jsonl"}


@pytest.mark.parametrize("stage", DECLARED)
def test_every_file_with_ids_that_a_stage_reads_has_a_use(stage):
    read = {path for path in FILES for dep in DECLARED[stage]["deps"] if not dep.startswith("components/") and overlaps(dep, path)}
    assert read <= {path for name, path in USES if name == stage}


def test_no_use_or_gap_is_of_something_else():
    for stage, path in USES:
        assert path in FILES, path
        assert any(overlaps(path, item) for item in (*DECLARED[stage]["deps"], *DECLARED[stage]["outs"])), (stage, path)
    for gap in GAPS:
        assert gap.stage in DECLARED and gap.file in FILES


def test_every_stage_that_tunes_a_language_model_trains_on_something():
    tuning = {name for name, row in DECLARED.items() if any(out.startswith("models/") for out in row["outs"])}
    assert tuning == {stage for (stage, _), use in USES.items() if use.effect == "trained"}


def test_every_effect_but_those_of_no_model_counts_as_seen():
    assert {use.effect for use in USES.values()} - set(SEEN) == {"made", "none"}
