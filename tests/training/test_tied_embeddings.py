"""A tied model through the optimiser and the loops: one parameter, stepped once, saved once, resumed exactly."""

import copy

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from components.modeling.models import load_model, save_model
from components.rewards.reward_model import RewardModel, answer_rewards, create_reward_model, save_reward_model
from components.settings.training import OptimiserSettings, SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.optimisation import create_optimiser, restore_training, step_optimiser, training_tensors
from components.training.supervised.tuning import pretrain

SHAPE = {
    "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "intermediate_size": 48, "max_position_embeddings": 128, "tie_word_embeddings": True, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture
def tied(tiny_tokenizer, tmp_path):
    """A tied model as it comes from a folder."""
    torch.manual_seed(2)
    save_model(Qwen3ForCausalLM(Qwen3Config(**SHAPE)).eval(), tiny_tokenizer, tmp_path / "tied")
    return load_model(tmp_path / "tied")


def _is_tied(model):
    return model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_shared_matrix_is_one_parameter_stepped_once(tied, kind):
    optimiser = create_optimiser(tied, OptimiserSettings(kind=kind, learning_rate=0.1, weight_decay=0.0, outer_rate_share=1.0))
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert sum(parameter is tied.lm_head.weight for parameter in parameters) == 1
    before = tied.lm_head.weight.detach().clone()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    step_optimiser(optimiser, rate=0.1, clip_norm=1e9)
    # Adam's first step is the rate times the gradient's sign, so a second step would show as 0.2.
    torch.testing.assert_close(before - tied.lm_head.weight, torch.full_like(before, 0.1), rtol=0, atol=1e-5)
    assert _is_tied(tied)


def test_a_tuned_model_is_still_tied_and_its_folder_holds_the_matrix_once(tied, tiny_tokenizer, tmp_path):
    settings = SupervisedSettings(optimiser=OptimiserSettings(learning_rate=1e-2), steps=4, batch_samples=2, precision="float32", patience=3)
    pretrain(tied, tiny_tokenizer, ["Asthma causes wheeze."] * 4, settings=settings, seed=1, validation=["Pneumonia causes fever."])
    assert _is_tied(tied)
    save_model(tied, tiny_tokenizer, tmp_path / "tuned")
    from safetensors import safe_open

    with safe_open(tmp_path / "tuned" / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118
    loaded = load_model(tmp_path / "tuned")
    assert _is_tied(loaded)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in tied.state_dict().items())


def test_a_checkpoint_restores_a_tied_model(tied, tmp_path):
    def stepped(model, optimiser):
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
        step_optimiser(optimiser, rate=0.01, clip_norm=1.0)

    resumed = copy.deepcopy(tied)
    first, second = (create_optimiser(model, OptimiserSettings(learning_rate=0.01)) for model in (tied, resumed))
    stepped(tied, first)
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", key="k")
    checkpoints.save(1, tensors=training_tensors(tied, first), state={})
    restore_training(resumed, second, checkpoints.latest()[0].tensors)
    stepped(tied, first)
    stepped(resumed, second)
    assert _is_tied(resumed)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in tied.state_dict().items())


def test_a_reward_model_grows_on_a_tied_backbone(tied, tiny_tokenizer, tmp_path):
    model = create_reward_model(tied, seed=1)
    encoded = [((5, 6, 7), (8, 9)), ((5, 6, 7), (10,))]
    rewards = answer_rewards(model, encoded, precision="float32")
    assert torch.equal(model.model.embed_tokens.weight, tied.model.embed_tokens.weight)
    save_reward_model(model, tiny_tokenizer, tmp_path / "reward", mean=0.0, scale=1.0)
    assert torch.equal(answer_rewards(RewardModel.load(tmp_path / "reward").model, encoded, precision="float32"), rewards)
