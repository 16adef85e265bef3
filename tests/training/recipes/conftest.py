"""A tiny model on disk, and recipes around it that take a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

WORDS = ("asthma", "anaemia", "gout", "migraine", "eczema", "asthenia", "angina", "rickets")
VOWELS = '''
def vowels(completions, **columns):
    return [text.count("a") / max(len(text), 1) for text in completions]
'''


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.modeling.models import create_model, save_model
    from components.modeling.tokenizers import train_tokenizer
    from components.settings.training import ModelSettings

    tokenizer = train_tokenizer([f"what is {word}? {word} it is" for word in WORDS], vocabulary=512)
    shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=128)
    folder = tmp_path_factory.mktemp("model")
    save_model(create_model(shape, tokenizer=tokenizer, seed=3), tokenizer, folder)
    return folder


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def policy_recipe(model_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of policy recipes in a folder with prompts and a reward that pays for the letter a."""

    def write(name: str = "recipe", reward: str = VOWELS, settings: dict[str, Any] | None = None, **changes: Any) -> Path:
        write_lines(tmp_path / "prompts.jsonl", [{"prompt": f"what is {word}?", "answer": word} for word in WORDS])
        (tmp_path / "reward.py").write_text(reward, encoding="utf-8")
        values: dict[str, Any] = {
            "kind": "policy", "model": str(model_folder), "data": "prompts.jsonl", "output": "tuned", "reward": "reward.py:vowels", "threads": 1,
            "policy": {
                "steps": 12, "prompts_per_step": 8, "max_new_tokens": 6, "mask_truncated": False, "refill_rounds": 0, "epochs": 1,
                "checkpoint_every": 4, "precision": "float32",
                "optimiser": {"learning_rate": 6.0e-3, "warmup_steps": 2, "schedule": "constant", "weight_decay": 0.0},
            } | (settings or {}),
        }  # fmt: skip
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
        return path

    return write
