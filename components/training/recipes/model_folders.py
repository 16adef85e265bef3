"""The model a recipe starts from: a Hugging Face folder with a chat template of its own, or a model of the pipeline."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import DataError, SettingsError, StorageError
from components.storage.artifact_store import read_reference
from components.storage.store_address import open_store

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM


def model_folder(model: Path) -> Path:
    """Return the folder a recipe's `model` means; a `models/<name>.json` is looked up in its project's store.

    Raises:
        SettingsError: there is no such folder, no config.json or tokenizer.json in it, or its tokenizer has no chat template.
    """
    folder = _stored_folder(model) if model.suffix == ".json" else model
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise SettingsError(f"model: {folder}: no {name}; name a Hugging Face folder with a model and a fast tokenizer")
    if not has_chat_template(folder):
        raise SettingsError(
            f"model: {folder}: its tokenizer has no chat template, so a prompt cannot be put as the model expects it; name a chat model, "
            "or put the template into chat_template.jinja"
        )
    return folder


def has_chat_template(folder: Path) -> bool:
    """Say whether a folder's tokenizer brings a chat template, without loading it."""
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(isinstance(config, dict) and config.get("chat_template"))


def load_folder(folder: Path) -> "tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]":
    """Load model and tokenizer.

    Raises:
        SettingsError: another architecture than the engine trains; StorageError: damaged weights.
    """
    from components.modeling.models import load_model
    from components.modeling.tokenizers import load_tokenizer
    from components.modeling.weights import decoder_weights

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    decoder_weights(model, precision="float32")  # refuses other architectures before anything is sampled
    return model, tokenizer


def _stored_folder(reference: Path) -> Path:
    if not reference.is_file():
        raise SettingsError(f"model: {reference}: no such file; run `quarkmed retrain`, which makes it, or name a model folder")
    project = reference.parent.parent
    try:
        return open_store(project).fetch(read_reference(reference))
    except (DataError, StorageError, ValueError) as error:
        raise SettingsError(f"model: {reference}: {error}") from None
