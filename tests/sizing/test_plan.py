"""Memory, speed and plans: hand-derived numbers, and what must hold of any plan."""

import itertools
from pathlib import Path

import pytest

from components.errors import SettingsError
from components.settings.sizing import HardwareSettings, SizingSettings, StageShape, TrainerShape, load_sizing
from components.sizing.memory import activation_bytes, answers_at_once, trainer_memory
from components.sizing.plan import make_plan
from components.sizing.shape import DecoderShape, read_shape
from components.sizing.speed import decode_step_seconds, live_share, update_seconds

ROOT = Path(__file__).parents[2]
SHAPE = read_shape(ROOT / "infra" / "sizing" / "qwen3-32b.json")
P = 32_762_123_264


@pytest.mark.parametrize(("stage", "expected"), [(0, 16 * P), (1, 4 * P + 12 * P / 16), (2, 2 * P + 14 * P / 16), (3, 16 * P / 16)])
def test_state_is_divided_as_zero_says(stage, expected):
    memory = trainer_memory(SHAPE, TrainerShape(zero_stage=stage), gpus=16, has_reference=False)
    assert memory.state == pytest.approx(expected)


def test_activations_of_the_32b_shape():
    # a layer and token: 4 · 5120 + (3 · 64 + 3 · 8) · 128 + 3 · 25600 = 124,928 values of 2 bytes
    assert activation_bytes(SHAPE, recompute=False, tokens=1) == 64 * 124_928 * 2
    assert activation_bytes(SHAPE, recompute=True, tokens=1) == (64 * 5120 + 124_928) * 2


def test_activations_are_near_what_autograd_keeps():
    import torch

    from components.modeling.forward import forward_packed
    from components.modeling.models import create_model
    from components.modeling.packing import pack_sequences
    from components.modeling.tokenizers import train_tokenizer
    from components.settings.training import ModelSettings

    shape = ModelSettings(vocabulary=512, hidden=64, layers=3, heads=4, key_value_heads=2, head_dimension=16, intermediate=192, context=1024)
    model = create_model(shape, tokenizer=train_tokenizer(["a b c"], vocabulary=400), seed=1)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.dim() > 1 and 700 in tensor.shape:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = forward_packed(model, pack_sequences([[5] * 700]), precision="float32")  # longer than attention scores are held for
    assert hidden.requires_grad
    planned = DecoderShape(layers=3, hidden=64, heads=4, key_value_heads=2, head_size=16, intermediate=192, vocabulary=512)
    assert sum(kept.values()) == pytest.approx(activation_bytes(planned, recompute=False, tokens=700, bytes_per_value=4), rel=0.25)


def test_the_decode_floor_is_bound_by_reading_at_first_and_by_products_later():
    bandwidth, flops = 3.35e12, 989e12
    # one answer: 2P bytes and a cache of 1000 tokens; over two GPUs half of it
    one = decode_step_seconds(SHAPE, answers=1, context=1000, gpus=2, bandwidth=bandwidth, flops=flops)
    assert one == pytest.approx((2 * P + 1000 * 262_144) / (2 * 3.35e12))
    many = decode_step_seconds(SHAPE, answers=4096, context=1, gpus=2, bandwidth=bandwidth, flops=flops)
    assert many == pytest.approx(4096 * (2 * (31_205_621_760 + 777_912_320) + 4 * 64 * 64 * 128) / (2 * 989e12))


def test_answers_at_once_fill_what_the_weights_leave():
    # 2 GPUs of 72e9 bytes hold 2P of weights; the rest over 262,144 bytes · 1300 tokens
    assert answers_at_once(SHAPE, memory=72e9, tensor_parallel=2, context=1300) == int((2 * 72e9 - 2 * P) // (262_144 * 1300))
    assert answers_at_once(SHAPE, memory=30e9, tensor_parallel=2, context=1300) == 0


def test_live_groups_by_group_size():
    # pairs, any pass rate: the mean of 2p(1 − p) is 1/3
    assert live_share(2, lowest=0.0, highest=1.0) == pytest.approx(1 / 3)
    assert live_share(32, lowest=0.05, highest=0.95) > live_share(8, lowest=0.05, highest=0.95) > 0.8


def test_update_time_by_hand():
    shape = DecoderShape(layers=1, hidden=2, heads=1, key_value_heads=1, head_size=2, intermediate=4, vocabulary=8)
    # matrices 2 · 3 · 2 + 2 · 2 + 3 · 2 · 4 = 40, head 16; pairs (p²/2 + 2(ap + a²/2)) = 8 + 2(8 + 2) = 28; group of 2, live 1/3 of 3 prompts = 1
    stage = StageShape(name="s", prompts=3, completions=(2,), prompts_per_step=3, prompt_tokens=4, answer_tokens=2, max_new_tokens=2, has_reference=True)
    settings = SizingSettings.model_validate({"assumed": {"update_mfu": 0.5, "lowest_pass_rate": 0, "highest_pass_rate": 1}})
    hardware = HardwareSettings(teraflops=1e-9)  # a thousand operations a second
    forward = 2 * 8 * 8 + 2 * 32 * 4 + 2 * 16 * 4 + 4 * 1 * 1 * 2 * 28  # 8 of 40 for every key and value, the others for 4 tokens of 8
    update = 3 * forward + 2 * 16 * 4
    seconds = update_seconds(shape, stage, completions=2, gpus=1, hardware=hardware, assumed=settings.assumed, trainer=TrainerShape(recompute=False))
    assert seconds == pytest.approx((update + forward) / 500)


def test_more_nodes_never_take_longer_and_larger_groups_never_less():
    plan = make_plan(SHAPE, SizingSettings())
    by = {(row.stage.name, row.completions, row.nodes): row for row in plan.rows}
    for (name, group, nodes), row in by.items():
        if (name, group, nodes * 2) in by:
            assert by[name, group, nodes * 2].hours <= row.hours * 1.001
        if group == 8:
            assert by[name, 32, nodes].hours >= row.hours
    assert {row.steps for row in plan.rows if row.stage.name == "grpo_reasoning"} == {547}  # 70,000 / 128, rounded up


def test_the_fewest_nodes_fit_and_half_of_them_do_not():
    plan = make_plan(SHAPE, SizingSettings())
    usable = 80e9 * 0.9
    assert plan.memory.total <= usable
    if plan.fewest_nodes > 1:
        half = trainer_memory(SHAPE, TrainerShape(), gpus=plan.fewest_nodes * 4, has_reference=True, reward_models=2)
        assert half.total > usable


def test_hours_are_linear_in_prompts():
    def hours(prompts: int) -> float:
        stage = {"name": "s", "prompts": prompts, "completions": [8], "prompt_tokens": 300, "answer_tokens": 500, "max_new_tokens": 1000}
        return make_plan(SHAPE, SizingSettings.model_validate({"stages": [stage], "nodes": [8]})).rows[0].hours

    assert hours(128_000) == pytest.approx(2 * hours(64_000))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": [1], "trainer": {"zero_stage": 1}}, "nodes: 1 do not hold the model|fits on no count"),
        ({"hardware": {"memory_gigabytes": 4}}, "the sampler's weights take 8.2 GB a GPU even over a whole node of 8"),
        ({"trainer": {"zero_stage": 0}}, r"fits on no count of nodes up to 4096: of 80 GB a GPU: weights 65\.5"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_fills_the_memory(changes, said):
    with pytest.raises(SettingsError, match=said):
        make_plan(SHAPE, SizingSettings.model_validate(changes))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hardware: {memory_gigabyte: 80}", r"plan\.yaml:1: hardware\.memory_gigabyte: unknown key; did you mean hardware\.memory_gigabytes\?"),
        ("assumed: {update_mfu: 40}", r"assumed\.update_mfu: Input should be less than or equal to 1 \(found 40\)"),
        ("hardware: {bandwidth_gigabytes: -1}", r"hardware\.bandwidth_gigabytes: Input should be greater than 0"),
        ("stages: [{name: s, prompts: 5, prompt_tokens: 1, answer_tokens: 9, max_new_tokens: 3}]", "answer_tokens .9. is a mean and cannot exceed max_new_tokens .3."),
        ("stages: [{name: s, prompts: 5, prompt_tokens: 1, answer_tokens: 1, max_new_tokens: 3, completions: [1]}]", "a group needs at least 2 answers"),
    ],
)
def test_a_plan_out_of_range_names_its_key(tmp_path, text, said):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_sizing(path)


def test_shapes_of_other_sizes_plan_too():
    for layers, hidden in itertools.product((8, 64), (1024, 5120)):
        shape = DecoderShape(**{**vars(SHAPE), "layers": layers, "hidden": hidden})
        assert all(row.hours > 0 for row in make_plan(shape, SizingSettings()).rows)
