"""The whole stage on tiny models: what it writes, going on after a kill, and asking again only what changed."""

import json
from pathlib import Path

import pytest
import yaml

from components import layout
from components.cases.case import Case
from components.conversations import Message
from components.documents import write_jsonl
from components.errors import DataError
from components.evaluation import model_scoring
from components.evaluation.evaluate_stage import run
from components.evaluation.results import read_results
from components.modeling.models import create_model, save_model
from components.modeling.tokenizers import train_tokenizer
from components.recorder import Recorder
from components.settings.settings import Settings, load_settings
from components.settings.training import ModelSettings
from components.stage import StageContext, declared_stages
from components.storage.artifact_store import ArtifactStore, write_reference
from components.storage.checkpoints import CheckpointFolder
from components.storage.files import write_json

ROOT = Path(__file__).parents[2]
TINY = ModelSettings(vocabulary=512, hidden=32, layers=1, heads=2, key_value_heads=1, head_dimension=16, intermediate=32, context=128)
ANSWERS = {"max_new_tokens": dict.fromkeys(("exam", "verified", "ability"), 6), "retrieval_cases": 0, "bootstrap_draws": 100}


class Killed(BaseException):
    """Stands for kill -9 between two parts."""


def make_cases() -> list[Case]:
    def case(suite: str, number: int, verifier: str, reference: dict, **more) -> Case:
        return Case(
            id=f"{suite}-{number}", split="test", suite=suite, task=f"{suite}_task", group="analysis", cluster=f"d{number % 4}", entities=(),
            combination=f"{suite}{number}", template="t", answer="", verifier=verifier, reference=reference,
            messages=(Message(role="user", content=f"{suite} question {number}"),), **more,
        )  # fmt: skip

    return [
        *(case("probes", n, "likelihood", {"set": "fact", "leading": bool(n % 2)}, options=("asthma", "gout", "flu", "acne")) for n in range(8)),
        *(case("exam", n, "exam_answer", {"options": ["x", "y"], "answer": ["x"], "level": "junior", "type": "single"}) for n in range(4)),
        *(case("verified", n, "icd_diagnosis", {"icd10": "J45.9"}) for n in range(6)),
        *(case("ability", n, "exact_text", {"accept": ["yes"]}) for n in range(4)),
    ]


def make_project(root: Path) -> None:
    tokenizer = train_tokenizer(["probes exam verified ability question asthma gout flu acne yes"] * 5, vocabulary=512)
    store = ArtifactStore(root / "store")
    for number, path in enumerate(layout.MODELS.values()):
        folder = root / "made" / str(number)
        save_model(create_model(TINY, tokenizer=tokenizer, seed=number), tokenizer, folder)
        write_reference(root / path, store.publish(folder))
    write_jsonl(root / layout.TEST_CASES, make_cases())
    for path in (layout.CURATION_REPORT, layout.COVERAGE, layout.REWARD_REPORT):
        write_json(root / path, {"figure": 0.5})
    trials = [{"number": 0, "kind": "random", "score": 0.1}]
    write_json(root / layout.RATIOS, {"ratios": {"a": 1.0}, "importance": {"a": 0.0}, "trials": trials, "comparison": {"chosen": [], "uniform": []}})
    (root / "data").mkdir()
    (root / "data" / "knowledge_base").symlink_to(ROOT / "data" / "knowledge_base")
    (root / "bench" / "results").mkdir(parents=True)


def make_context(root: Path) -> StageContext:
    row = declared_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))["evaluate"]
    settings = load_settings(ROOT / "params.yaml")
    evaluate = settings.evaluate.model_copy(update=ANSWERS)
    assert isinstance(settings, Settings)
    return StageContext(
        "evaluate", root, settings.model_copy(update={"evaluate": evaluate}), row["params"], row["deps"], row["outs"],
        Recorder(root / "work"), CheckpointFolder(root / "work" / "checkpoints", key="k"), ArtifactStore(root / "store"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    make_project(root)
    run(make_context(root))
    return root


def outputs(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "artifacts" / "evaluate").iterdir())}


def test_every_model_has_every_suite_that_has_cases(project):
    metrics = json.loads((project / layout.METRICS).read_text())
    assert list(metrics) == sorted(layout.MODELS)
    for suites in metrics.values():
        assert set(suites) == {"probes", "exam", "verified", "ability", "format"}
        assert {name: entry["n"] for name, entry in suites.items()} == {"probes": 8, "exam": 4, "verified": 6, "ability": 4, "format": 10}
        assert all(0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1 for entry in suites.values())
    rows = read_results(project / layout.RESULTS)
    assert [sum(row.suite == "verified" for row in rows[model]) for model in layout.MODELS] == [12] * 6  # two samplings a case
    claims = json.loads((project / layout.CLAIMS).read_text())
    assert {(claim["model"], claim["kind"]) for claim in claims} >= {("base", "chance"), ("grpo_general", "kept"), ("grpo_general", "overall")}


def test_killed_evaluation_goes_on_and_ends_the_same(project, tmp_path, monkeypatch):
    make_project(tmp_path)
    asked, real = [], model_scoring.score_cases

    def dies_at_the_ninth(*arguments, **options):
        asked.append(1)
        if len(asked) == 9:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(model_scoring, "score_cases", dies_at_the_ninth)
    with pytest.raises(Killed):
        run(make_context(tmp_path))
    run(make_context(tmp_path))
    assert outputs(tmp_path) == outputs(project)
    assert len(asked) == 6 * 3 + 1  # three sampled parts a model; only the one that died is asked twice


def test_second_evaluation_asks_nothing(project, monkeypatch):
    monkeypatch.setattr(model_scoring, "score_cases", lambda *_, **__: pytest.fail("asked again"))
    before = outputs(project)
    run(make_context(project))
    assert outputs(project) == before


def test_training_case_in_the_test_file_is_refused(tmp_path):
    make_project(tmp_path)
    cases = make_cases()
    write_jsonl(tmp_path / layout.TEST_CASES, [cases[0].model_copy(update={"split": "train"}), *cases[1:]])
    with pytest.raises(DataError, match="evaluation reads test cases only"):
        run(make_context(tmp_path))
