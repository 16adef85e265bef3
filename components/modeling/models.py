"""Models: made from scratch, loaded and saved as safetensors folders that transformers loads with no code of ours.

Models made here never tie embeddings and head: vLLM's in-place reload is silently wrong with tied ones. A loaded folder
keeps what its config.json says.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import StorageError
from components.modeling.adapters import has_adapters, merged_state
from components.modeling.devices import own_device

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

    from components.settings.training import ModelSettings


def create_model(settings: "ModelSettings", *, tokenizer: "PreTrainedTokenizerFast", seed: int) -> "Qwen3ForCausalLM":
    """Make a Qwen3 of the given shape with random weights; equal seeds give equal weights. Float32, on `own_device()`."""
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    from components.modeling.tokenizers import stop_ids

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.key_value_heads,
        head_dim=settings.head_dimension,
        intermediate_size=settings.intermediate,
        max_position_embeddings=settings.context,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=list(stop_ids(tokenizer)), pad_token_id=tokenizer.pad_token_id
    )
    return model.eval().to(own_device())


def load_model(folder: Path) -> "Qwen3ForCausalLM":
    """Load a causal language model in float32, on `own_device()`.

    Raises:
        StorageError: no model there, or its weights cannot be read.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if not (folder / "config.json").is_file():
        raise StorageError(
            f"{folder}: no config.json; name a Hugging Face model folder, or run the stage that makes this model"
        )
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise StorageError(
            f"{folder}: the model cannot be loaded ({str(error).splitlines()[0]}); fetch or make it again"
        ) from error
    return model.eval().to(own_device())


def save_model(model: "Qwen3ForCausalLM", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write model and tokenizer into a folder, adapters merged into the weights; equal weights give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.name_or_path = ""
    model.save_pretrained(folder, state_dict=merged_state(model) if has_adapters(model) else None)
    tokenizer.save_pretrained(folder)
