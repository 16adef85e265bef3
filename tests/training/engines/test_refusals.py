"""What engines that keep weights in parts cannot train is refused before anything is shared out."""

from pathlib import Path

import pytest

from components.errors import SettingsError
from components.modeling.adapters import attach_adapters
from components.settings.engine import EngineSettings
from components.settings.training import AdapterSettings, OptimiserSettings
from components.training.engines.creation import create_engine
from components.training.engines.deepspeed_engine import DeepSpeedEngine
from components.training.engines.fsdp_engine import FsdpEngine
from components.training.engines.ranks import SINGLE

ZERO2 = Path(__file__).parents[3] / "infra" / "deepspeed" / "zero2.json"
ADAMW = OptimiserSettings(learning_rate=1e-3)


def _engine(name, model, optimiser=ADAMW):
    return FsdpEngine(model, optimiser, ranks=SINGLE) if name == "fsdp" else DeepSpeedEngine(model, optimiser, config=ZERO2, ranks=SINGLE)


@pytest.mark.parametrize("name", ["fsdp", "deepspeed"])
def test_adapters_and_a_tied_head_stay_whole(tiny_model, name):
    head = tiny_model.lm_head.weight
    tiny_model.lm_head.weight = tiny_model.base_model.embed_tokens.weight
    with pytest.raises(SettingsError, match=r"its head is its embedding .*use engine\.strategy single or ddp"):
        _engine(name, tiny_model)
    tiny_model.lm_head.weight = head
    attach_adapters(tiny_model, AdapterSettings(rank=2), seed=1)
    with pytest.raises(SettingsError, match=r"adapters\.rank: adapters are trained whole"):
        _engine(name, tiny_model)


def test_muon_is_refused_where_matrices_are_cut_across(tiny_model):
    with pytest.raises(SettingsError, match="muon works on whole matrices, and DeepSpeed cuts across them"):
        _engine("deepspeed", tiny_model, OptimiserSettings(kind="muon", learning_rate=1e-3))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed"])
def test_a_process_that_stands_alone_is_told_how_to_start(monkeypatch, tiny_model, strategy):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SettingsError, match=r"this one stands alone; start it as `torchrun"):
        create_engine(tiny_model, ADAMW, EngineSettings(strategy=strategy))
