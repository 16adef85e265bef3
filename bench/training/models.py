"""The models both sides load: made by the project, saved as Hugging Face folders, stopping never or at chance.

Every embedding gets the same large first component, which the random layers pass on, so that after the last norm the first
component is about constant, and a head row that reads it alone gives its token a constant logit: far down for a token that
must not be drawn, or where a stop is drawn with the wanted probability at every token. No sampler needs an option for it.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from components.modeling.forward import forward_packed
from components.modeling.models import create_model, save_model
from components.modeling.packing import pack_sequences
from components.modeling.tokenizers import stop_ids
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.training import ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

STOP_CHANCE = 0.058  # a token: 14.7 tokens on average where 32 are the most
COMPONENT = 0.2  # ten times an embedding's other components
NEVER = -60.0  # logit


def stopping_model(shape: ModelSettings, *, tokenizer: "PreTrainedTokenizerFast", seed: int, chance: float) -> "Qwen3ForCausalLM":
    """Return a random model that draws the end of the turn with about this chance at every token, and no other control token."""
    model = create_model(shape, tokenizer=tokenizer, seed=seed)
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[:, 0] = COMPONENT
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(len(tokenizer) // 2, len(tokenizer), (4, 64), generator=generator)
        hidden = forward_packed(model, pack_sequences(ids.tolist()), precision="float32")
        first = float(hidden[:, 0].mean())
        others = float((hidden @ head.T).logsumexp(dim=-1).mean())
        for token in {*stop_ids(tokenizer), *tokenizer.all_special_ids}:
            head[token] = 0.0
            head[token, 0] = NEVER / first
        if chance > 0:
            head[tokenizer.eos_token_id, 0] = (others + math.log(chance / (1 - chance))) / first
    return model


def save_models(shape: ModelSettings, *, tokenizer: "PreTrainedTokenizerFast", folder: Path, seed: int = 1) -> None:
    """Write `fixed` and `stops`, the language models, and `reward`, a reward model on the same decoder."""
    for name, chance in (("fixed", 0.0), ("stops", STOP_CHANCE)):
        model = stopping_model(shape, tokenizer=tokenizer, seed=seed, chance=chance)
        save_model(model, tokenizer, folder / name)
    save_reward_model(create_reward_model(model, seed=seed), tokenizer, folder / "reward", mean=0.0, scale=1.0)
