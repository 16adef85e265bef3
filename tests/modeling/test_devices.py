"""Models are loaded to the GPU of this process where there is one."""

import pytest
import torch

from components.modeling import models
from components.modeling.devices import own_device
from components.modeling.models import load_model, save_model
from components.rewards import reward_model
from components.rewards.reward_model import RewardModel, create_reward_model, save_reward_model


@pytest.mark.parametrize(("rank", "index"), [(None, 0), ("3", 3)])
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch, rank, index):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert own_device() == torch.device("cuda", index)


def test_without_a_gpu_models_lie_on_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device() == torch.device("cpu")


def test_loaded_models_and_reward_models_lie_there(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    save_model(tiny_model, tiny_tokenizer, tmp_path / "model")
    save_reward_model(create_reward_model(tiny_model, seed=1), tiny_tokenizer, tmp_path / "reward", mean=0.0, scale=1.0)
    for module in (models, reward_model):
        monkeypatch.setattr(module, "own_device", lambda: torch.device("meta"))  # the only other device there is without a GPU
    assert load_model(tmp_path / "model").device.type == "meta"
    assert RewardModel.load(tmp_path / "reward").model.device.type == "meta"


def test_a_reward_model_lies_where_its_backbone_does(tiny_model):
    assert create_reward_model(tiny_model, seed=1).device == tiny_model.device
