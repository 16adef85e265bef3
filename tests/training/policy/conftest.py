"""A tiny model, a toy reward and the settings of a run that takes seconds."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from components.conversations import Message
from components.modeling.models import create_model
from components.modeling.tokenizers import encode_prompts, train_tokenizer
from components.settings.training import ModelSettings, PolicySettings
from components.training.policy.groups import PolicyPrompt

WORDS = ("asthma", "anaemia", "gout", "migraine", "eczema", "asthenia", "angina", "rickets")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    return train_tokenizer([f"what is {word}? {word} it is" for word in WORDS], vocabulary=512)


@pytest.fixture
def tiny_model(tiny_tokenizer: Any) -> Callable[..., Any]:
    def make(seed: int = 3) -> Any:
        shape = ModelSettings(
            vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=64
        )
        return create_model(shape, tokenizer=tiny_tokenizer, seed=seed)

    return make


@pytest.fixture(scope="session")
def toy_prompts(tiny_tokenizer: Any) -> list[PolicyPrompt]:
    ids = encode_prompts(tiny_tokenizer, [[Message(role="user", content=f"what is {word}?")] for word in WORDS])
    return [PolicyPrompt(word, "toy", tuple(prompt)) for word, prompt in zip(WORDS, ids, strict=True)]


@pytest.fixture(scope="session")
def vowel_reward() -> Callable[..., Any]:
    """Reward the share of characters that are the letter a: graded, and reachable by chance from random weights."""

    def reward(prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[dict[str, float | None]]:
        return [{"correct": text.count("a") / max(len(text), 1)} for text in texts]

    return reward


@pytest.fixture
def toy_settings() -> Callable[..., PolicySettings]:
    def make(**changes: Any) -> PolicySettings:
        values: dict[str, Any] = {
            "optimiser": {"learning_rate": 6e-3, "warmup_steps": 2, "schedule": "constant", "weight_decay": 0.0},
            "steps": 30, "prompts_per_step": 8, "completions": 8, "max_new_tokens": 6, "epochs": 1,
            "precision": "float32", "mask_truncated": False, "checkpoint_every": 4, "refill_rounds": 0,
        }  # fmt: skip
        return PolicySettings.model_validate(values | changes)

    return make
