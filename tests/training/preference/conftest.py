"""Pairs whose better answer names good things, a tokenizer of their words, and tiny models."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from components.conversations import Message, PreferencePair
from components.modeling.models import create_model
from components.modeling.tokenizers import train_tokenizer
from components.settings.training import DirectPreferenceSettings, ModelSettings, SupervisedSettings

GOOD, BAD = ("rest", "water", "sleep", "tea"), ("smoke", "beer", "stress", "salt")


@pytest.fixture(scope="session")
def toy_tokenizer() -> Any:
    return train_tokenizer([f"what helps? {word} helps" for word in (*GOOD, *BAD)], vocabulary=512)


@pytest.fixture(scope="session")
def toy_pairs() -> Callable[..., list[PreferencePair]]:
    """Return a maker of pairs, three a prompt: the better answer names two good things, the worse one two bad ones."""

    def make(count: int, seed: int) -> list[PreferencePair]:
        draw = random.Random(seed)
        pairs = []
        for index in range(count):
            question = (Message(role="user", content=f"what helps {index // 3}?"),)
            chosen, rejected = (f"{' and '.join(draw.sample(words, 2))} helps." for words in (GOOD, BAD))
            pairs.append(PreferencePair(id=f"{seed}-{index}", dimension="honesty", messages=question, chosen=chosen, rejected=rejected))
        return pairs

    return make


@pytest.fixture(scope="session")
def toy_model(toy_tokenizer: Any) -> Callable[..., Any]:
    def make(seed: int = 1) -> Any:
        shape = ModelSettings(
            vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=96
        )
        return create_model(shape, tokenizer=toy_tokenizer, seed=seed)

    return make


@pytest.fixture(scope="session")
def direct_settings() -> Callable[..., DirectPreferenceSettings]:
    def make(**changes: Any) -> DirectPreferenceSettings:
        values = {"optimiser": {"learning_rate": 3e-3, "warmup_steps": 2}, "steps": 12, "batch_pairs": 12, "checkpoint_every": 5, "precision": "float32"}
        return DirectPreferenceSettings.model_validate(values | changes)

    return make


@pytest.fixture(scope="session")
def score_settings() -> Callable[..., SupervisedSettings]:
    def make(**changes: Any) -> SupervisedSettings:
        values = {"optimiser": {"learning_rate": 3e-3, "warmup_steps": 2}, "steps": 25, "batch_samples": 16, "precision": "float32"}
        return SupervisedSettings.model_validate(values | changes)

    return make


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
