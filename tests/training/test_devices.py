"""Everything the loops compute stays on the model's device: run whole under a device that is pretended.

A build of torch without CUDA cannot hold a tensor on a GPU. Here plain tensors are said to lie there, and every tensor
made or moved elsewhere is marked; an operation that mixes the two fails, as it would on a GPU.
"""

import copy

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_leaves, tree_map
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from components.conversations import Message, PreferencePair
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.step_graph import StepGraph
from components.generation.weight_probes import sequence_logprobs
from components.modeling import compiled
from components.modeling.adapters import attach_adapters
from components.modeling.forward import forward_packed
from components.modeling.likelihood import option_logprobs
from components.modeling.packed_model import PackedModel
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import answer_targets, pack_trees
from components.modeling.reading import read_at
from components.recorder import Recorder
from components.rewards.generative_model import GenerativeModel, JudgeForm
from components.rewards.reward_model import RewardModel, create_reward_model
from components.settings.training import (
    AdapterSettings,
    DirectPreferenceSettings,
    OptimiserSettings,
    PolicySettings,
    SupervisedSettings,
)
from components.sizing.machine import DeviceSpeed
from components.storage.checkpoints import CheckpointFolder
from components.training import floors
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.preference.direct import tune_on_preferences
from components.training.preference.tuning import tune_reward_model
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
MAKERS = {*_device_constructors(), torch.frombuffer, torch.asarray, torch.from_numpy}
OPTIMISER = OptimiserSettings(learning_rate=1e-3)
ASKED = (Message(role="user", content="What is the diagnosis?"),)
PAIRS = [
    PreferencePair(id=str(number), dimension="honesty", messages=ASKED, chosen=f"It is asthma {number}.", rejected=f"A cough {number}.", margin=0.5)
    for number in range(4)
]


class Host(torch.Tensor):
    """A tensor that lies on the processor."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class PretendedGpu(TorchFunctionMode):
    """Plain tensors lie on a GPU; `Host` ones do not."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:
            return CPU if isinstance(args[0], Host) else GPU
        if func == torch.Tensor.is_cuda.__get__:
            return not isinstance(args[0], Host)
        if func in MAKERS:
            device = torch.device(kwargs.pop("device", None) or CPU)
            made = func(*args, **kwargs)
            return made if device == GPU else made.as_subclass(Host)
        if name == "backward":
            seed = torch.ones_like(args[0])
            with self:  # so that backwards written in Python are seen too
                return torch.autograd.Variable._execution_engine.run_backward((args[0],), (seed,), False, False, (), allow_unreachable=True, accumulate_grad=True)
        if name in ("to", "cpu"):
            return self.moved(func, args, kwargs)
        if name == "numpy" and not isinstance(args[0], Host):
            raise TypeError("can't convert a cuda tensor to numpy")
        inputs = [item for item in tree_leaves((args, kwargs)) if isinstance(item, torch.Tensor)]
        hosts = [item for item in inputs if isinstance(item, Host)]
        if len(hosts) < len(inputs) and any(item.dim() for item in hosts) and name not in ("copy_", "__set__"):
            raise RuntimeError(f"{name}: {len(hosts)} of {len(inputs)} tensors are on the processor")
        result = func(*args, **kwargs)
        if not inputs or len(hosts) < len(inputs):
            return result
        return tree_map(lambda item: item.as_subclass(Host) if isinstance(item, torch.Tensor) else item, result)

    def moved(self, func, args, kwargs):
        tensor, *rest = args
        target = CPU if func.__name__ == "cpu" else kwargs.pop("device", None)
        if rest and isinstance(rest[0], torch.Tensor):
            target = CPU if isinstance(rest[0], Host) else GPU
            rest[0] = rest[0].dtype
        elif rest and isinstance(rest[0], str | torch.device):
            target = torch.device(rest.pop(0))
        result = func(tensor, *rest, **kwargs) if rest or kwargs else tensor.clone() if target != (CPU if isinstance(tensor, Host) else GPU) else tensor
        is_host = isinstance(tensor, Host) if target is None else target == CPU
        return result.as_subclass(Host) if is_host else result.as_subclass(torch.Tensor) if isinstance(result, Host) else result


@pytest.fixture
def gpu(monkeypatch, plain_varlen_attn):
    """A GPU's own kernels, streams and graphs are not there to be pretended: the same is computed without them."""
    monkeypatch.setattr(compiled, "has_compiler", lambda: False)
    monkeypatch.setattr("components.modeling.precision.has_bfloat16_gpu", lambda: True)
    monkeypatch.setattr(StepGraph, "_record", lambda self: None)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain_varlen_attn)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(floors, "device_speed", lambda dtype, device: DeviceSpeed(1e12, 1e11))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    return PretendedGpu()


def test_the_pretence_fails_where_a_gpu_would(gpu, tiny_model):
    weight = tiny_model.lm_head.weight
    with gpu:
        assert weight.device == GPU and weight.new_zeros(2).device == GPU and torch.zeros(2).device == CPU
        with pytest.raises(RuntimeError, match="on the processor"):
            weight.index_select(0, torch.arange(2))
        assert weight.index_select(0, torch.arange(2).to(weight.device)).device == GPU
        assert (weight * torch.tensor(2.0)).device == GPU  # a single number may come from the processor
        with pytest.raises(TypeError, match="numpy"):
            weight.detach().numpy()


def test_a_supervised_run_and_its_resume_stay_on_the_device(gpu, tiny_model, tmp_path):
    examples = [Example(tuple(range(5, 5 + length)), (False,) + (True,) * (length - 1)) for length in (6, 4, 9)]
    settings = SupervisedSettings(optimiser=OPTIMISER, steps=2, precision="float32", checkpoint_every=1, validate_every=1, patience=9)
    for plan in ([[0, 1, 2]] * 2, [[0, 1, 2]] * 2):  # the second goes on from the first's last checkpoint
        run = SupervisedRun(
            tiny_model, examples, plan, settings=settings, recorder=Recorder(tmp_path / "record"),
            checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"), validation=examples,
        )  # fmt: skip
        with gpu:
            assert run.run().steps == 2


@pytest.mark.parametrize(("rank", "kind", "precision"), [(0, "muon", "float32"), (2, "adamw", "bfloat16")])
def test_a_policy_run_and_its_resume_stay_on_the_device(gpu, tiny_model, tiny_tokenizer, tmp_path, rank, kind, precision):
    prompts = [PolicyPrompt(str(number), "toy", (5, 6, *range(7, 8 + number))) for number in range(6)]
    attach_adapters(tiny_model, AdapterSettings(rank=rank), seed=1)
    settings = PolicySettings(
        optimiser=OptimiserSettings(learning_rate=1e-3, kind=kind), steps=2, prompts_per_step=3, completions=4, max_new_tokens=6, precision=precision,
        mask_truncated=False, updates_per_rollout=2, importance_cap=2.0, sequence_gap_limit=5.0, entropy_weight=0.01, checkpoint_every=1, validate_every=1,
    )  # fmt: skip
    for _ in range(2):  # the second goes on from the first's last checkpoint
        with gpu:
            result = optimise_policy(
                tiny_model, prompts, lambda asked, texts: [{"correct": len(text) % 3 / 2} for text in texts],
                sampler=NativeSampler(tiny_model, tiny_tokenizer, precision=precision), settings=settings, seed=1, recorder=Recorder(tmp_path / "record"),
                checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"), measure=lambda model: 1.0,
            )  # fmt: skip
        assert result.steps == 2


@pytest.mark.parametrize("family", [Qwen2Config, LlamaConfig])
def test_other_families_attend_by_flash_on_the_device(gpu, family):
    shape = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    model = AutoModelForCausalLM.from_config(family(**shape, tie_word_embeddings=True), dtype=torch.float32)
    gradients = []
    for precision in ("float32", "bfloat16"):
        model.zero_grad(set_to_none=True)
        with gpu:
            tree = pack_trees([[5, 9, 40], [7, 8]], [[[45, 46], [47, 48, 49]], [[11]]])
            predictors, targets = answer_targets(tree, answers_per_prompt=[2, 1])
            token_logprobs(model, read_at(tree, predictors), targets, precision=precision)[0].sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    exact, rounded = gradients
    assert 0 < (exact - rounded).norm() < 0.02 * exact.norm()  # bfloat16 holds 8 bits


def test_preference_tunings_and_their_resumes_stay_on_the_device(gpu, tiny_model, tiny_tokenizer, tmp_path):
    direct = DirectPreferenceSettings(optimiser=OPTIMISER, steps=2, batch_pairs=2, precision="float32", supervised_weight=0.1, validate_every=1)
    scorer, models = create_reward_model(tiny_model, seed=1), [copy.deepcopy(tiny_model) for _ in range(2)]
    with gpu:
        for model in models:  # the second goes on from the first's last checkpoint
            tune_on_preferences(
                model, tiny_tokenizer, PAIRS, settings=direct, seed=1, recorder=Recorder(tmp_path / "direct"), validation=PAIRS,
                checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k").child("direct"),
            )  # fmt: skip
        tune_reward_model(
            scorer, tiny_tokenizer, PAIRS, settings=SupervisedSettings(optimiser=OPTIMISER, steps=2, batch_samples=2, precision="float32"), centring=0.01,
            margin_scale=1.0, seed=1, recorder=Recorder(tmp_path / "reward"), name="reward",
        )  # fmt: skip
        assert len(RewardModel(scorer, tiny_tokenizer).score([ASKED], ["It is asthma."])) == 1


def test_sampling_with_rows_that_end_apart_stays_on_the_device(gpu, tiny_model, tiny_tokenizer):
    prompts = [[5, 6, 7], [8, 9], [5, 9, 11, 12]]
    sampler = NativeSampler(tiny_model, tiny_tokenizer)
    expected = sampler.generate(prompts, SamplingOptions(max_new_tokens=60, samples=6, seed=3))
    assert len({len(answer.ids) for group in expected for answer in group}) > 2  # so that rows are compacted away
    with gpu:
        actual = NativeSampler(tiny_model, tiny_tokenizer).generate(prompts, SamplingOptions(max_new_tokens=60, samples=6, seed=3))
        NativeSampler(tiny_model, tiny_tokenizer).generate(prompts, SamplingOptions(max_new_tokens=3, temperature=0.0))
    assert [[answer.ids for answer in group] for group in actual] == [[answer.ids for answer in group] for group in expected]


def test_scoring_stays_on_the_device(gpu, tiny_model, tiny_tokenizer):
    judge = GenerativeModel(tiny_model, tiny_tokenizer, JudgeForm(labels={"0": 0.0, "1": 1.0}))
    with gpu:
        assert len(sequence_logprobs(tiny_model, [[5, 6, 7], [8, 9]])) == 2
        assert len(option_logprobs(tiny_model, tiny_tokenizer, ["It is"], [[" asthma", " a cough"]])[0]) == 2
        assert len(judge.score([ASKED], ["It is asthma."])) == 1


def test_attention_of_other_devices_equals_that_of_the_processor(gpu, tiny_model):
    batch = pack_trees([list(range(5, 40)), [7, 8, 9]], [[[10, 11], [12, 13, 14]], [[5]]])
    expected = forward_packed(tiny_model, batch, precision="float32")
    with gpu:
        actual = forward_packed(tiny_model, batch, precision="float32")
        actual.sum().backward()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_a_model_in_parts_stays_on_the_device(gpu, tiny_model):
    batch = pack_trees([[5, 6, 7]], [[[10, 11], [12, 13, 14]]])
    predictors, targets = answer_targets(batch, answers_per_prompt=[2])
    batch = read_at(batch, predictors)
    expected = token_logprobs(tiny_model, batch, targets, precision="float32", with_entropy=True)
    parts = PackedModel(tiny_model)
    with gpu:
        actual = token_logprobs(parts, batch, targets, precision="float32", with_entropy=True)
        (actual[0].sum() + actual[1].sum()).backward()
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
