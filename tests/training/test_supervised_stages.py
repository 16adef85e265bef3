"""The supervised stages on a handful of real lines: what they publish, and what they refuse."""

import json
import math
from pathlib import Path

import pytest

from components import layout
from components.cases.case import Case
from components.conversations import Message, Sample
from components.documents import Document, read_jsonl, read_models, write_jsonl
from components.errors import DataError
from components.modeling.models import load_model
from components.modeling.tokenizers import load_tokenizer
from components.recorder import read_record
from components.settings.training import OptimiserSettings, SupervisedSettings
from components.storage.artifact_store import read_reference
from components.training import cold_start_stage, ift_stage, pretraining_stage, sft_stage
from components.training.answer_quality import answer_quality
from components.training.supervised.tuning import tune

PROJECT = Path(__file__).parents[2]
SMALL = {
    "model.vocabulary": 512, "model.hidden": 32, "model.layers": 2, "model.heads": 4, "model.head_dimension": 8,
    "model.intermediate": 48, "pretraining.steps": 30, "pretraining.batch_tokens": 256,
    "ift.steps": 6, "ift.batch_samples": 8, "sft.steps": 6, "sft.batch_samples": 8, "sft.validate_every": 2, "sft.patience": 0,
    "cold_start.steps": 4, "cold_start.batch_samples": 8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _case(number, task="diagnosis"):
    return Case(
        id=f"{task}:{number}", split="train", suite="verified", task=task, group="reasoning", cluster="asthma", entities=("asthma",),
        combination=str(number), template="t", messages=(Message(role="user", content=f"Age {number}, wheeze. Diagnosis?"),),
        answer='{"icd10": "J45.9"}', verifier="icd_diagnosis", reference={"reasoning": "wheeze suggests asthma"},
    )  # fmt: skip


def _open_case(suite):
    reference = {"facts": [["wheeze"]], "relevant": [1]} if suite == "grounded" else {"disease": "asthma", "aspects": ["symptoms"], "population": None}
    return Case(
        id=suite, split="validation", suite=suite, task=suite, group="comprehension", cluster="asthma", entities=("asthma",), combination=suite, template="t",
        messages=(Message(role="user", content="[1] (A) Asthma causes wheeze.\nWhat are symptoms of asthma?"),), answer="Symptoms of asthma are wheeze [1].",
        verifier="grounded" if suite == "grounded" else "oracle", reference=reference,
    )  # fmt: skip


def _sample(number, group):
    messages = (
        Message(role="user", content=f"What is wheeze {number}?"),
        Message(role="assistant", content="A sign of asthma."),
    )
    return Sample(id=f"{group}{number}", task="general_query", group=group, messages=messages)


def _write_inputs(root):
    documents = [
        Document(id=f"d{number}", type="textbook", source="s", text=f"Asthma note {number}: wheeze and night cough.")
        for number in range(80)
    ]
    write_jsonl(root / layout.DOCUMENTS, documents)
    write_jsonl(
        root / layout.SENTENCES,
        [{"text": f"Asthma causes wheeze {number}.", "triple": ["asthma", "causes", str(number)], "template": "y"} for number in range(20)],
    )
    write_jsonl(
        root / layout.TRAIN_CASES,
        [_case(number, task) for task in ("diagnosis", "drug_choice") for number in range(20)],
    )
    write_jsonl(root / layout.SAMPLES, [_sample(number, group) for group in "ab" for number in range(10)])
    write_jsonl(root / layout.VALIDATION_SAMPLES, [_sample(number, "a") for number in range(10, 14)])
    write_jsonl(root / layout.ANSWERS, [_sample(number, "a") for number in range(10)])
    write_jsonl(root / layout.ANSWERS_VALIDATION, [_sample(number, "b") for number in range(10, 14)])
    write_jsonl(root / layout.VALIDATION_CASES, [_open_case("grounded"), _open_case("preference")])
    (root / layout.KNOWLEDGE_BASE).parent.mkdir(parents=True)
    (root / layout.KNOWLEDGE_BASE).symlink_to(PROJECT / layout.KNOWLEDGE_BASE)
    ratios = root / layout.RATIOS
    ratios.parent.mkdir(parents=True)
    ratios.write_text(json.dumps({"ratios": {"a": 0.5, "b": 0.5}}), encoding="utf-8")


def test_four_stages_hand_the_model_on_and_repeat_to_the_byte(tmp_path, stage_context):
    stages = (
        ("pretraining", pretraining_stage),
        ("ift", ift_stage),
        ("sft", sft_stage),
        ("cold_start", cold_start_stage),
    )
    digests = []
    for folder in ("first", "second"):
        root = tmp_path / folder
        _write_inputs(root)
        for name, module in stages:
            module.run(stage_context(name, root, SMALL))
        digests.append(
            [read_reference(root / layout.MODELS[name]).digest for name in ("base", "ift", "sft", "cold_start")]
        )
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 4
    references = [read_reference(root / layout.MODELS[name]) for name in ("base", "ift", "sft", "cold_start")]
    assert [reference.parent for reference in references] == [None, *digests[0][:3]]
    (summary,) = [
        entry["values"] for entry in read_record(root / "records" / "pretraining") if entry["kind"] == "summary"
    ]
    # An untrained model is about as unsure as a uniform one over its vocabulary.
    assert summary["validation_loss_before"] == pytest.approx(math.log(summary["vocabulary"]), abs=0.5)
    assert summary["validation_loss_after"] < 0.7 * summary["validation_loss_before"]


def test_sft_is_measured_by_the_quality_of_its_answers(tiny_model, tiny_tokenizer):
    from components.knowledge_base.loading import load_knowledge_base
    from components.rewards.oracle import Oracle

    oracle = Oracle(load_knowledge_base(PROJECT / layout.KNOWLEDGE_BASE))
    cases = [_open_case("grounded"), _open_case("preference")]
    measure = answer_quality(cases, tiny_tokenizer, oracle)
    samples = [
        Sample(id=case.id, task=case.task, group=case.group, messages=(*case.messages, Message(role="assistant", content=case.answer)))
        for case in cases[:1] * 4
    ]  # fmt: skip
    before = measure(tiny_model)
    settings = SupervisedSettings(optimiser=OptimiserSettings(learning_rate=5e-3, warmup_steps=2), steps=60, batch_samples=4, precision="float32")
    tune(tiny_model, tiny_tokenizer, samples, settings=settings, seed=1)
    # Both cases are asked in the same words, and the learnt answer is the grounded one's full mark; its citation breaks a
    # rule or two of the general one, whose facts it states.
    after = measure(tiny_model)
    assert before < 0.5 < after < 1.0
    assert after == pytest.approx((1.0 + oracle.judge(cases[1], cases[0].answer).overall) / 2)


def test_the_sentences_of_an_entity_are_told_together_each_once():
    lines = [{"text": f"{entity} {number} {wording}.", "triple": [entity, "causes", str(number)]} for wording in "ab" for number in range(6) for entity in ("asthma", "gout")]
    passages = pretraining_stage.entity_passages(lines, seed=1)
    # six triples an entity: four and two, two wordings each
    assert [passage.count(".") for passage in passages] == [8, 4, 8, 4]
    assert not any("asthma" in passage and "gout" in passage for passage in passages)
    told = [sentence.strip() for passage in passages for sentence in passage.split(".") if sentence.strip()]
    assert sorted(told) == sorted(line["text"].rstrip(".") for line in lines)
    assert passages == pretraining_stage.entity_passages(lines, seed=1) != pretraining_stage.entity_passages(lines, seed=2)


def test_a_folder_is_continued_with_its_own_tokenizer(tmp_path, stage_context, tiny_model, tiny_tokenizer):
    from components.modeling.models import save_model

    _write_inputs(tmp_path)
    save_model(tiny_model, tiny_tokenizer, tmp_path / "given")
    pretraining_stage.run(
        stage_context(
            "pretraining", tmp_path, SMALL | {"model.folder": str(tmp_path / "given"), "pretraining.steps": 1}
        )
    )
    published = tmp_path / "store" / read_reference(tmp_path / layout.BASE).key
    assert load_tokenizer(published).get_vocab() == tiny_tokenizer.get_vocab()
    assert load_model(published).config.hidden_size == tiny_model.config.hidden_size


def test_cold_start_replays_only_what_is_answered_without_reasoning(tmp_path, stage_context):
    _write_inputs(tmp_path)
    for name, module in (("pretraining", pretraining_stage), ("ift", ift_stage), ("sft", sft_stage)):
        module.run(stage_context(name, tmp_path, SMALL))
    examination = [sample.model_copy(update={"id": f"exam{number}", "task": "exam_junior_single"}) for number, sample in enumerate([_sample(1, "a")] * 9)]
    write_jsonl(tmp_path / layout.ANSWERS, [*examination, *(_sample(number, "b") for number in range(10))])
    cold_start_stage.run(stage_context("cold_start", tmp_path, SMALL | {"cold_start.replay_share": 0.25}))
    (summary,) = [entry["values"] for entry in read_record(tmp_path / "records" / "cold_start") if entry["kind"] == "summary"]
    # 4 steps of 8 in two epochs: 12 reasoning samples and 4 replayed ones, none of the examination
    assert summary["samples"] == 16
    assert len(read_models(tmp_path / layout.COLD_START_SAMPLES, Sample)) == 12
    replayed = [row["id"] for row in read_jsonl(tmp_path / layout.REPLAYED)]
    assert len(set(replayed)) == 4 and set(replayed) <= {f"b{number}" for number in range(10)}


def test_cold_start_samples_think_first_and_share_their_tasks(tmp_path, stage_context):
    cases = [_case(number, task) for task in ("diagnosis", "drug_choice") for number in range(20)]
    chosen = cold_start_stage.reasoning_samples(cases, count=16, seed=1)
    assert [sample.task for sample in chosen].count("diagnosis") == 8
    assert chosen[0].messages[-1].content == '<think>wheeze suggests asthma</think>{"icd10": "J45.9"}'
    assert chosen == cold_start_stage.reasoning_samples(cases[::-1], count=16, seed=1)


def test_the_examination_takes_one_turn_beside_each_verified_task():
    verified = [_case(number, task) for task in ("diagnosis", "drug_choice") for number in range(20)]
    examination = [_case(number, task).model_copy(update={"suite": "exam"}) for task in ("exam_junior_single", "exam_senior_single") for number in range(20)]
    chosen = cold_start_stage.reasoning_samples([*verified, *examination], count=12, seed=1)
    tasks = [sample.task for sample in chosen]
    assert {task: tasks.count(task) for task in set(tasks)} == {"diagnosis": 4, "drug_choice": 4, "exam_junior_single": 2, "exam_senior_single": 2}


def test_cold_start_without_reasoning_names_the_file(tmp_path, stage_context):
    write_jsonl(tmp_path / layout.TRAIN_CASES, [_case(1).model_copy(update={"reference": {}})])
    with pytest.raises(DataError, match=r"train\.jsonl.*holdout"):
        cold_start_stage.run(stage_context("cold_start", tmp_path, SMALL))
