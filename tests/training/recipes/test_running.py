"""Recipes from their file to a tuned model: the reward rises, a killed run goes on to the same bytes, bad input is refused."""

import contextlib
import json
import logging
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from components.errors import DataError, SettingsError
from components.lineage import digest_file, digest_folder
from components.observing import run_log
from components.observing.run_log import read_logs
from components.observing.usage import read_samples, stage_usage
from components.recorder import read_record
from components.training.recipes.running import LOGS, MODEL, RECORD, prepare_recipe, run_recipe
from flows.recipe_traces import ended_recipe, watching

ROOT = Path(__file__).parents[3]
TIMINGS = ("seconds_",)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def metrics(output: Path) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for entry in read_record(output / RECORD):
        if entry["kind"] == "metrics":
            values = {name: value for name, value in entry["values"].items() if not name.startswith(TIMINGS)}
            found.setdefault(entry["step"], {}).update(values)
    return found


def test_the_reward_rises_and_transformers_loads_the_model(policy_recipe):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prepared = prepare_recipe(policy_recipe(settings={"steps": 30}))
    run = run_recipe(prepared)
    assert run.summary["reward_last"] > run.summary["reward_first"] + 0.1
    assert run.summary["unscored_answers"] == 0
    model = AutoModelForCausalLM.from_pretrained(run.output / MODEL)
    assert AutoTokenizer.from_pretrained(run.output / MODEL).chat_template
    before = load_file(prepared.folder / "model.safetensors")
    after = model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not (run.output / ".checkpoints").exists()
    rows = (run.output / RECORD / "files" / "tables" / "completions-00000.jsonl").read_text().splitlines()
    assert {"prompt", "answer", "vowels", "advantage"} <= set(json.loads(rows[0]))


STOPPABLE = '''
from pathlib import Path
SWITCH, COUNT = Path(__file__).with_name("stop-at"), Path(__file__).with_name("calls")

def vowels(completions, **columns):
    calls = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
    COUNT.write_text(str(calls))
    if SWITCH.exists() and calls == int(SWITCH.read_text()):
        raise KeyboardInterrupt
    return [text.count("a") / max(len(text), 1) for text in completions]
'''


def test_an_interrupted_run_ends_with_the_weights_and_metrics_of_an_undisturbed_one(policy_recipe, tmp_path):
    whole = run_recipe(prepare_recipe(policy_recipe("whole", reward=STOPPABLE, output="whole")))
    (tmp_path / "calls").unlink()
    path = policy_recipe("cut", reward=STOPPABLE, output="cut")
    for stop in (3, 10):  # before the first checkpoint after the start, and between two
        (tmp_path / "stop-at").write_text(str(stop))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(prepare_recipe(path))
    resumed = run_recipe(prepare_recipe(path))
    assert (resumed.output / MODEL / "model.safetensors").read_bytes() == (whole.output / MODEL / "model.safetensors").read_bytes()
    assert metrics(resumed.output) == metrics(whole.output)
    assert any(entry["kind"] == "resumed" for entry in read_record(resumed.output / RECORD))


@pytest.fixture
def own_log(monkeypatch):
    """Leave this process without the log that the test opens."""
    monkeypatch.setattr(run_log, "_opened", None)
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = handlers


def test_a_run_leaves_a_log_and_samples_beside_its_record_whatever_cut_it_short(policy_recipe, tmp_path, own_log):
    path = policy_recipe(reward=STOPPABLE, settings={"steps": 6})
    (tmp_path / "stop-at").write_text("6")  # after the checkpoint of step 4
    for ends in (False, True):
        prepared = prepare_recipe(path)
        with contextlib.nullcontext() if ends else pytest.raises(KeyboardInterrupt):
            run = run_recipe(prepared, watch=watching(prepared))
    lines = [line for line in read_logs(run.output / LOGS) if line["event"] not in ("library", "note")]
    told = [(line["event"], line["step"]) for line in lines]
    assert told == [("stage began", None), ("stage stopped", 4), ("stage began", None), ("went on from a checkpoint", 4), ("summary", 5), ("stage ended", 5)]
    assert {(line["run"], line["process"], line["stage"]) for line in lines} == {("tuned", "train", "policy")}
    assert "gout" not in (run.output / LOGS / "train.jsonl").read_text()
    samples = read_samples(run.output / RECORD / "usage.jsonl")
    assert len({sample["attempt"] for sample in samples}) == 2 and stage_usage(run.output / RECORD).peak_bytes > 0
    ended = ended_recipe(path, prepared, run)
    assert ended.inputs == {str(tmp_path / "prompts.jsonl"): digest_file(tmp_path / "prompts.jsonl")} and ended.summary == run.summary
    assert ended.parameters["policy"]["steps"] == 6 and ended.parameters["model_digest"] == digest_folder(prepared.folder)


def test_a_log_alone_does_not_make_a_folder_somebody_elses(policy_recipe, tmp_path):
    (tmp_path / "tuned" / LOGS).mkdir(parents=True)  # of a run that was killed before its first line of record
    prepare_recipe(policy_recipe())
    (tmp_path / "tuned" / "notes.txt").touch()
    with pytest.raises(SettingsError, match="is not the output of a recipe"):
        prepare_recipe(policy_recipe())


def test_a_finished_run_says_so_and_another_recipe_is_kept_out(policy_recipe, tmp_path):
    first = run_recipe(prepare_recipe(policy_recipe(settings={"steps": 2})))
    weights = (first.output / MODEL / "model.safetensors").read_bytes()
    again = run_recipe(prepare_recipe(policy_recipe(settings={"steps": 2})))
    assert again.was_finished and again.summary == first.summary
    with pytest.raises(SettingsError, match=r"holds the result of a recipe that differs in policy\.steps; name another output"):
        prepare_recipe(policy_recipe(settings={"steps": 3}))
    changed = policy_recipe(settings={"steps": 2})
    with (tmp_path / "prompts.jsonl").open("a") as stream:
        stream.write('{"prompt": "what is flu?", "answer": "flu"}\n')
    with pytest.raises(SettingsError, match="differs in data"):
        prepare_recipe(changed)
    assert (first.output / MODEL / "model.safetensors").read_bytes() == weights


def test_answers_that_cannot_be_scored_are_left_out_and_counted(policy_recipe):
    half = "def vowels(completions, answer):\n    return [None if a[0] == 'a' else t.count('a') / 6 for t, a in zip(completions, answer)]\n"
    run = run_recipe(prepare_recipe(policy_recipe(reward=half, settings={"steps": 2})))
    # 5 of the 8 words begin with a; 8 answers a prompt, 2 steps over all prompts
    assert run.summary["unscored_answers"] == sum(word[0] == "a" for word in ("asthma", "anaemia", "gout", "migraine", "eczema", "asthenia", "angina", "rickets")) * 8 * 2


def test_a_run_that_teaches_nothing_is_an_error(policy_recipe):
    flat = "def vowels(completions, **columns):\n    return [0.5] * len(completions)\n"
    with pytest.raises(DataError, match="nothing was learnt: in none of 2 steps"):
        run_recipe(prepare_recipe(policy_recipe(reward=flat, settings={"steps": 2})))


def test_weights_stand_beside_the_functions(policy_recipe):
    two = "def vowels(completions, **columns):\n    return [1.0] * len(completions)\n\ndef length(completions, **columns):\n    return [float(len(t)) for t in completions]\n"
    path = policy_recipe(reward=two, settings={"steps": 1})
    values = yaml.safe_load(path.read_text())
    values["reward"] = [{"function": "reward.py:vowels", "weight": 3.0}, {"function": "reward.py:length", "weight": 0.0}]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(DataError, match="nothing was learnt"):  # lengths differ, but weigh nothing; the sum is 3 everywhere
        run_recipe(prepare_recipe(path))
    assert metrics(path.parent / "tuned")[0]["reward"] == pytest.approx(3.0)


def test_a_prompt_that_leaves_no_room_is_named_by_its_line(policy_recipe, tmp_path):
    path = policy_recipe()
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "gout"}\n' + json.dumps({"prompt": "gout " * 130}) + "\n")
    with pytest.raises(DataError, match=r"prompts\.jsonl:2: the prompt has \d+ tokens, and the model's context leaves 122 beside"):
        run_recipe(prepare_recipe(path))


def test_a_pass_rate_outside_0_to_1_is_refused(policy_recipe):
    with pytest.raises(DataError, match="pass_rate: reward vowels gave 7"):
        run_recipe(prepare_recipe(policy_recipe(reward="def vowels(completions):\n    return [7.0] * len(completions)\n", pass_rate="vowels")))


def test_a_tokenizer_without_a_chat_template_is_refused(policy_recipe, model_folder, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(model_folder, bare, ignore=shutil.ignore_patterns("chat_template.jinja"))
    with pytest.raises(SettingsError, match="bare: its tokenizer has no chat template"):
        prepare_recipe(policy_recipe(model=str(bare)))


def test_the_shipped_example_runs_on_a_tiny_model(model_folder, tmp_path):
    example = ROOT / "docs" / "examples" / "doses"
    values = yaml.safe_load((example / "recipe.yaml").read_text())
    assert len((example / "prompts.jsonl").read_text().splitlines()) == 30
    values |= {"model": str(model_folder), "data": str(example / "prompts.jsonl"), "output": "tuned", "threads": 1}
    values["reward"] = [str(example / name) for name in values["reward"]]
    values["policy"] |= {"steps": 3, "max_new_tokens": 6, "mask_truncated": False}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    run = run_recipe(prepare_recipe(tmp_path / "recipe.yaml"))
    assert run.summary["update_tokens"] > 0
    assert {"reward/correct", "reward/brief"} <= set(metrics(run.output)[2])


def test_supervised_tuning_by_a_recipe_lowers_the_loss(model_folder, tmp_path):
    lines = [{"messages": [{"role": "user", "content": f"what is {w}?"}, {"role": "assistant", "content": "it is gout"}]} for w in ("asthma", "angina")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "kind": "supervised", "model": str(model_folder), "data": "data.jsonl", "validation": "data.jsonl", "output": "tuned", "threads": 1,
        "supervised": {"steps": 20, "batch_samples": 2, "precision": "float32", "optimiser": {"learning_rate": 5.0e-3, "warmup_steps": 2}},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = run_recipe(prepare_recipe(tmp_path / "recipe.yaml"))
    assert run.summary["validation_loss_last"] < 0.5 * run.summary["validation_loss_first"]
    assert (run.output / MODEL / "model.safetensors").is_file()


def test_a_reward_model_by_a_recipe_learns_its_pairs(model_folder, tmp_path):
    from components.conversations import Message
    from components.rewards.reward_model import RewardModel

    lines = [{"prompt": f"what is {word}?", "chosen": f"{word} it is", "rejected": "gout gout"} for word in ("asthma", "angina", "migraine", "rickets")]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "kind": "reward_model", "model": str(model_folder), "data": "pairs.jsonl", "validation": "pairs.jsonl", "output": "tuned", "threads": 1,
        "reward_model": {"steps": 15, "batch_samples": 4, "precision": "float32", "optimiser": {"learning_rate": 3.0e-3, "warmup_steps": 2}},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = run_recipe(prepare_recipe(tmp_path / "recipe.yaml"))
    assert run.summary["validation_accuracy"] == 1.0
    question = (Message(role="user", content="what is asthma?"),)
    good, bad = RewardModel.load(run.output / MODEL).score([question, question], ["asthma it is", "gout gout"])
    assert good > bad


def test_preference_tuning_by_a_recipe_prefers_what_its_pairs_prefer(model_folder, tmp_path):
    lines = [{"prompt": f"what is {word}?", "chosen": f"{word} it is", "rejected": "gout gout"} for word in ("asthma", "angina", "migraine", "rickets")]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "kind": "preference", "model": str(model_folder), "data": "pairs.jsonl", "output": "tuned", "threads": 1,
        "preference": {"steps": 15, "batch_pairs": 4, "precision": "float32", "optimiser": {"learning_rate": 3.0e-3, "warmup_steps": 2}},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = run_recipe(prepare_recipe(tmp_path / "recipe.yaml"))
    # Equal policies cost log 2 = .693; every pair is told apart in the end.
    assert run.summary["loss"] < 0.5
    assert run.summary["accuracy"] == 1.0
