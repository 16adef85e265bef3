"""No loop holds the logits of more tokens than a chunk, forward or backward: whatever a vocabulary's size, memory does not follow it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from components.conversations import Message, PreferencePair
from components.modeling import logprobs
from components.recorder import SilentRecorder
from components.settings.training import DirectPreferenceSettings, OptimiserSettings, PolicySettings, SupervisedSettings
from components.training.engines.torch_engine import TorchEngine
from components.training.policy.groups import Answer, LiveGroup
from components.training.policy.loop import reference_model
from components.training.policy.rollout_updates import update_on_rollout
from components.training.preference.direct import tune_on_preferences
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun

CHUNK = 40  # tokens; more than the hidden size, as the transposed head is as wide as logits are
OPTIMISER = OptimiserSettings(learning_rate=1e-3)


class LargestLogits(TorchDispatchMode):
    """Sees every tensor that is made, in backwards too, and notes the most rows of one as wide as the vocabulary."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for item in made if isinstance(made, tuple | list) else (made,):
            if isinstance(item, torch.Tensor) and item.dim() > 1 and item.shape[-1] == self.vocabulary:
                self.rows = max(self.rows, item.numel() // self.vocabulary)
        return made


def supervised(model, tokenizer):
    examples = [Example(tuple(range(5, 5 + length)), (False,) + (True,) * (length - 1)) for length in (60, 45)]
    settings = SupervisedSettings(optimiser=OPTIMISER, steps=1, precision="float32", validate_every=1)
    SupervisedRun(model, examples, [[0, 1]], settings=settings, validation=examples).run()


def policy(model, tokenizer):
    answers = tuple(Answer(tuple(range(start, start + 50)), (-5.0,) * 50, "stop", "", {"correct": 1.0}) for start in (5, 50))
    groups = [LiveGroup((5, 6, first), answers, (1.0, -1.0)) for first in (7, 8)]
    settings = PolicySettings(optimiser=OPTIMISER, steps=1, kl_weight=0.01, entropy_weight=0.01, updates_per_rollout=2, precision="float32", kl_limit=1e3)
    engine = TorchEngine(model, OPTIMISER)
    assert len(update_on_rollout(engine, reference_model(model), groups, settings=settings, learning_rate=1e-3)) == 2


def preference(model, tokenizer):
    asked = (Message(role="user", content="What is the diagnosis?"),)
    chosen, rejected = 4 * "Asthma causes wheeze and night cough. ", 4 * "Pneumonia causes fever. "
    pairs = [PreferencePair(id="p", dimension="honesty", messages=asked, chosen=chosen, rejected=rejected)]
    settings = DirectPreferenceSettings(optimiser=OPTIMISER, steps=1, batch_pairs=1, precision="float32", supervised_weight=0.1)
    tune_on_preferences(model, tokenizer, pairs, settings=settings, seed=1, recorder=SilentRecorder(), validation=pairs)


@pytest.mark.parametrize("loop", [supervised, policy, preference])
def test_no_loop_makes_logits_of_more_tokens_than_a_chunk(loop, tiny_model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", CHUNK * len(tiny_model.lm_head.weight))
    monkeypatch.setattr(logprobs, "LEAST_TOKENS", CHUNK)
    monkeypatch.setattr(logprobs, "HELD_ELEMENTS", 0)
    with LargestLogits(len(tiny_model.lm_head.weight)) as largest:
        loop(tiny_model, tiny_tokenizer)
    assert largest.rows == CHUNK > tiny_model.config.hidden_size
