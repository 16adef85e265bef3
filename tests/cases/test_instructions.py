"""Instruction samples: curriculum order, groups, decontamination."""

from components import layout
from components.cases.case import Case
from components.cases.decontamination import HeldOut, common_grams
from components.conversations import Message, Sample
from components.documents import read_models
from components.instructions.curriculum import curriculum_order
from components.instructions.instructions_stage import decontaminate
from components.instructions.sampling import TAUGHT_SUITES, select_cases


def _sample(name: str, task: str, level: int) -> Sample:
    messages = (Message(role="user", content="q"), Message(role="assistant", content="a"))
    return Sample(id=name, task=task, group="analysis", level=level, messages=messages)


def test_levels_rise_and_tasks_take_turns():
    samples = [_sample("c1", "c", 2), _sample("a1", "a", 1), _sample("a2", "a", 1), _sample("a3", "a", 1), _sample("b1", "b", 1)]
    ordered = curriculum_order(samples, seed=1)
    # Level 1: a, b, then a alone; level 2: c.
    assert [sample.task for sample in ordered] == ["a", "b", "a", "a", "c"]
    assert ordered == curriculum_order(reversed(samples), seed=1)


def test_samples_of_the_real_run_are_in_order_and_teach_the_gold_answers(data_root, cases):
    samples = read_models(data_root / layout.SAMPLES, Sample)
    by_id = {case.id: case for case in cases["train"]}
    assert [sample.level for sample in samples] == sorted(sample.level for sample in samples)
    assert all(sample.messages[-1].content == by_id[sample.case_id].answer for sample in samples)
    assert {sample.group for sample in samples} == {"comprehension", "generation", "knowledge_application", "analysis"}
    assert {by_id[sample.case_id].suite for sample in samples} == set(TAUGHT_SUITES)
    assert max(sum(sample.task == task for sample in samples) for task in {sample.task for sample in samples}) <= 40


def test_no_sample_touches_validation_or_test(data_root, cases):
    held_out = {case.combination for split in ("validation", "test") for case in cases[split]}
    by_id = {case.id: case for case in cases["train"]}
    assert not any(by_id[sample.case_id].combination in held_out for sample in read_models(data_root / layout.SAMPLES, Sample))
    validation = {case.id for case in cases["validation"]}
    assert {sample.case_id for sample in read_models(data_root / layout.VALIDATION_SAMPLES, Sample)} <= validation


def test_contaminated_and_repeated_cases_are_refused_and_counted(cases):
    stolen = cases["test"][-1].model_copy(update={"split": "train"})
    kept, refused = decontaminate([cases["train"][0], cases["train"][0], stolen], HeldOut(cases["test"], common=common_grams(cases["test"])))
    assert kept == [cases["train"][0]]
    assert dict(refused) == {"repeated": 1, "combination": 1}


def test_selection_does_not_depend_on_the_order_of_cases(cases):
    def ids(items: list[Case]) -> list[str]:
        return [case.id for case in select_cases(items, samples_per_task=7, seed=3)]

    assert ids(cases["train"]) == ids(cases["train"][::-1])
