"""The controls: what differs is what should, the numbers are right by hand, and a killed bench goes on."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from bench.controls import arms
from bench.controls.bench import run_bench
from bench.controls.comparing import COMPARISONS, compare_all, mean_over_seeds
from bench.controls.running import run_steps, time_left
from bench.controls.steps import SeedSteps, Step
from bench.controls.workspaces import Work, arm_workspace
from components import layout
from components.answers.answers_stage import Answered, to_sample
from components.answers.best_of_n import Candidate, Query
from components.cases.case import Case
from components.conversations import Message, Sample
from components.documents import read_models, write_jsonl
from components.errors import DataError
from components.evaluation.report.stored_controls import last_controls
from components.pipeline.graph import StageRow, load_graph
from components.recorder import Recorder
from components.settings.settings import load_settings
from components.storage.files import read_json

ROOT = Path(__file__).parents[2]
TINY = ROOT / "infra/profiles/tiny.yaml"


def make_query(number: int, chosen: int | None) -> Query:
    case = Case(
        id=f"case-{number}", split="train", suite="preference", task="t", group="g", cluster="c", entities=(), combination="x", template="t",
        messages=(Message(role="user", content="?"),), answer="gold", verifier="oracle",
    )  # fmt: skip
    return Query(case, tuple(Candidate(f"answer {place}", ()) for place in range(3)), chosen)


def test_candidates_are_chosen_otherwise_only_where_there_was_a_choice():
    assert arms.choose_otherwise(make_query(0, 2), "first", seed=1).chosen == 0
    assert arms.choose_otherwise(make_query(0, None), "first", seed=1).chosen is None
    drawn = [arms.choose_otherwise(make_query(number, 2), "random", seed=1).chosen for number in range(60)]
    assert set(drawn) == {0, 1, 2}
    assert drawn == [arms.choose_otherwise(make_query(number, 0), "random", seed=1).chosen for number in range(60)]


def test_other_candidates_take_the_best_ones_place_and_replayed_samples_stay(tmp_path, monkeypatch, stage_context):
    queries = [make_query(0, 2), make_query(1, None), make_query(2, 0)]
    best = [to_sample(query) for query in queries]
    replayed = best[0].model_copy(update={"id": "instruction-1"})
    monkeypatch.setattr(arms, "answer_splits", lambda *_: (Answered(queries, best), Answered(queries[:1], best[:1])))
    context = stage_context("answers", tmp_path)
    context = dataclasses.replace(context, inputs=(*context.inputs, layout.ANSWERS, layout.ANSWERS_VALIDATION), outputs=(arms.OTHER_ANSWERS,))
    write_jsonl(tmp_path / layout.ANSWERS, [*best, replayed])
    write_jsonl(tmp_path / layout.ANSWERS_VALIDATION, best[:1])
    arms.answer_otherwise(context)
    first = read_models(tmp_path / arms.OTHER_ANSWERS / "first/samples.jsonl", Sample)
    words = [sample.messages[-1].content for sample in first]
    # the closing advice is the annotation's; case 1 had no choice, case 2's best was the first already
    assert words[0].startswith("Answer 0.") and words[1] == "gold" and first[2:] == [best[2], replayed]
    report = read_json(tmp_path / arms.OTHER_ANSWERS / "report.json")
    assert (report["queries"], report["without_choice"], report["samples_first_differs"], report["validation_first_differs"]) == (3, 1, 1, 1)


def test_code_that_changes_meanwhile_stops_the_bench_before_the_next_step(tmp_path):
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise DataError("changed")

    row, settings = StageRow("ift", ("run",), (), ("out.txt",)), load_settings(ROOT / "params.yaml")
    first = Step("ift", "ift", lambda: Work(tmp_path, row, settings, lambda context: context.write("out.txt").touch()))
    second = Step("never", None, lambda: pytest.fail("went on"))
    console = Console(width=160)
    with console.capture() as capture, pytest.raises(DataError, match="changed"):
        run_steps([(20, [first, second])], project=tmp_path, folder=tmp_path, console=console, check=check)
    assert (tmp_path / "out.txt").exists() and "[1/2] seed 20 ift: " in capture.get()


def test_random_ratios_keep_the_floor_and_follow_the_seed():
    groups = ["a", "b", "c"]
    assert arms.other_ratios("uniform", groups, floor=0.1, seed=1) == {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    drawn = arms.other_ratios("random", groups, floor=0.1, seed=1)
    assert min(drawn.values()) >= 0.1 and sum(drawn.values()) == pytest.approx(1)
    assert drawn != arms.other_ratios("random", groups, floor=0.1, seed=2)


def test_compute_of_grpo_is_counted_from_its_record(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.metrics({"epoch_active": 4}, step=0)  # not a step's own line
    for step in range(2):
        recorder.metrics({"sampled_groups": 3, "sampled_tokens": 50, "packed_tokens": 80, "reward": 1}, step=step)
    tokens = arms.grpo_tokens(tmp_path, has_reference=True)
    # 6 prompts of 10 tokens, 100 sampled, 160 packed once for the reference and 1 + 2 times for the policy: 60 + 100 + 640
    assert arms.grpo_passes(tokens, prompt_tokens=10.0) == 800.0
    assert arms.grpo_passes(arms.grpo_tokens(tmp_path, has_reference=False), prompt_tokens=10.0) == 640.0
    with pytest.raises(DataError, match="no step of GRPO"):
        arms.grpo_tokens(tmp_path / "none", has_reference=True)


def test_mean_over_seeds_has_a_t_interval():
    # differences 1, 2, 3: mean 2, standard deviation 1; t with 2 degrees of freedom at 97.5 % is 4.3027; 4.3027 / √3 = 2.4842
    assert mean_over_seeds([1.0, 2.0, 3.0], confidence=0.95) == pytest.approx((2.0, -0.4842, 4.4842), abs=1e-4)
    assert mean_over_seeds([0.5], confidence=0.95) == (0.5, None, None)


def test_rows_hold_paired_differences_of_each_seed():
    settings = load_settings(ROOT / "params.yaml")
    seeds = [settings.model_copy(update={"run": settings.run.model_copy(update={"seed": seed})}) for seed in (1, 2)]
    models = {row.model for row in COMPARISONS}

    def scores(at, model: str, suite: str) -> dict[str, dict[str, float]]:
        value = 0.5 + (0.1 * at.run.seed if model in models else 0.0)
        return {"scores": {f"c{n}": value for n in range(4)}, "clusters": {f"c{n}": f"d{n % 2}" for n in range(4)}}

    rows = compare_all(seeds, scores)
    assert len(rows) == len(COMPARISONS)
    for row in rows:
        assert [(item.seed, item.n, item.clusters) for item in row.seeds] == [(1, 4, 2), (2, 4, 2)]
        assert [item.difference for item in row.seeds] == pytest.approx([0.1, 0.2])
        assert row.mean == pytest.approx(0.15)


def test_an_arm_changes_one_input_and_leaves_the_seed_alone(tmp_path):
    seed = tmp_path / "seed"
    for name in ("a.txt", "b.txt"):
        (seed / "artifacts").mkdir(parents=True, exist_ok=True)
        (seed / "artifacts" / name).write_text(name)
    row = StageRow("ift", ("run",), ("artifacts/a.txt", "artifacts/b.txt"), ("out.txt",))
    for _ in range(2):  # a second start of the bench finds the links of the first
        arm = arm_workspace(seed, "other", row, changed={"artifacts/b.txt": "changed"})
    assert (arm / "artifacts/a.txt").read_text() == "a.txt" and (arm / "artifacts/b.txt").read_text() == "changed"
    assert (seed / "artifacts/b.txt").read_text() == "b.txt"
    settings = load_settings(ROOT / "params.yaml")

    def write(context) -> None:
        context.write("out.txt").write_text(context.read("artifacts/b.txt").read_text())

    Work(arm, row, settings, write).run()
    assert (arm / "out.txt").read_text() == "changed" and not (seed / "out.txt").exists()


def test_every_compared_model_is_made_and_scored(tmp_path):
    steps = SeedSteps(tmp_path, load_graph(ROOT), load_settings(ROOT / "params.yaml"))
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for row in COMPARISONS:
        for model in (row.model, row.control):
            assert f"score {model} on {row.suite}" in names and model in steps.references
    assert names.index("grpo_reasoning") < names.index("supervised")


def test_time_left_says_at_least_where_a_step_was_never_timed():
    steps = [Step(name, like, lambda: None) for name, like in (("ift", "ift"), ("ift_uniform", "ift"), ("score", None))]
    assert time_left(steps, {}, {}) == ""
    assert time_left(steps, {}, {"ift": 120.0}) == "at least 4 min left"
    assert time_left(steps, {"ift_uniform": 60.0, "score": 60.0}, {"ift": 120.0}) == "about 4 min left"


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_rehearsal_goes_on_and_its_result_can_be_shown(tmp_path, monkeypatch):
    profile = tmp_path / "rehearsal.yaml"
    profile.write_text(TINY.read_text() + "run: {threads: 1}\n")  # two threads of tiny matrices only wait for each other
    console, real = Console(width=160), Work.run
    ran: list[str] = []

    def run(work: Work):
        if len(ran) == 24:
            raise Killed
        ran.append(work.row.name)
        return real(work)

    monkeypatch.setattr(Work, "run", run)
    with pytest.raises(Killed):
        run_bench(ROOT, seeds=1, profile=profile, console=console, folder=tmp_path)
    monkeypatch.setattr(Work, "run", real)
    with console.capture() as capture:
        path = run_bench(ROOT, seeds=1, profile=profile, console=console, folder=tmp_path)
    assert capture.get().count("taken over") == 24
    name, stored = last_controls(path.parent)
    assert name == path.name and stored.profile == "rehearsal.yaml" and len(stored.rows) == len(COMPARISONS)
    compute = stored.details["20"]["compute"]["supervised"]
    # steps are whole and batches of unequal length: four of them are within a step of the compute asked for
    assert compute["steps"] == compute["planned_steps"]
    assert abs(compute["grpo_token_passes"] - compute["supervised_token_passes"]) <= compute["supervised_token_passes"] / compute["steps"]
