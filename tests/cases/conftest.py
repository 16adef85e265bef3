"""One small real run of sources → curate → holdout → instructions, shared by the tests of this folder."""

from pathlib import Path

import pytest

from components import layout
from components.cases import holdout_stage
from components.cases.case import Case
from components.curation import curate_stage, sources_stage
from components.documents import Document, read_models
from components.instructions import instructions_stage

OVERRIDES = {
    "sources.diseases": 20, "sources.documents_per_disease": 8, "sources.records_per_disease": 3, "sources.queries": 200,
    "holdout.validation_cases_per_suite": 80, "instructions.samples_per_task": 40,
    "holdout.test_cases": {"probes": 200, "exam": 320, "verified": 400, "ability": 400, "grounded": 100, "preference": 100, "safety": 100},
    "holdout.train_cases": {"probes": 0, "exam": 20, "verified": 150, "ability": 40, "grounded": 60, "preference": 60, "safety": 20},
}  # fmt: skip


@pytest.fixture(scope="session")
def run_data_stages(stage_context):
    """Return a function that runs the data stages in a folder."""

    def run(root: Path) -> Path:
        for name, stage in (("sources", sources_stage), ("curate", curate_stage), ("holdout", holdout_stage), ("instructions", instructions_stage)):
            stage.run(stage_context(name, root, OVERRIDES))
        return root

    return run


@pytest.fixture(scope="session")
def data_root(run_data_stages, tmp_path_factory) -> Path:
    """Return a folder in which the data stages have run."""
    return run_data_stages(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def cases(data_root) -> dict[str, list[Case]]:
    """Return the cases by split."""
    paths = {"train": layout.TRAIN_CASES, "validation": layout.VALIDATION_CASES, "test": layout.TEST_CASES}
    return {split: read_models(data_root / path, Case) for split, path in paths.items()}


@pytest.fixture(scope="session")
def documents(data_root) -> list[Document]:
    """Return the curated documents."""
    return read_models(data_root / layout.DOCUMENTS, Document)
