"""The models both sides load: made by the project, saved as Hugging Face folders, stopping never or at chance.

Every embedding gets the same large first component, which the random layers pass on, so that after the last norm the first
component is about constant, and a head row that reads it alone gives its token about a constant logit: far down for a token
that must not be drawn, or where a stop is drawn with the wanted probability, on average over the tokens of answers that the
model itself writes. No sampler needs an option for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.modeling.forward import forward_packed
from components.modeling.models import create_model, save_model
from components.modeling.packing import pack_sequences, pack_trees
from components.modeling.reading import in_asked_order, read_answers
from components.modeling.tokenizers import stop_ids
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.training import ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

STOP_CHANCE = 0.058  # a token: 14.7 tokens on average where 32 are the most
COMPONENT = 5.0  # so much above an embedding's other components, 0.02, that logits hardly depend on the text
NEVER = -60.0  # logit
WRITTEN, WRITTEN_TOKENS = 8, 32  # answers a prompt, and their length, over which the chance is set
HALVINGS = 40


def never_stopping_model(shape: ModelSettings, *, tokenizer: "PreTrainedTokenizerFast", seed: int) -> "Qwen3ForCausalLM":
    """Return a random model that draws no control token."""
    model = create_model(shape, tokenizer=tokenizer, seed=seed)
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[:, 0] = COMPONENT
        ids = torch.randint(len(tokenizer) // 2, len(tokenizer), (4, 64), generator=torch.Generator().manual_seed(seed))
        first = float(forward_packed(model, pack_sequences(ids.tolist()), precision="float32")[:, 0].mean())
        for token in {*stop_ids(tokenizer), *tokenizer.all_special_ids}:
            head[token] = 0.0
            head[token, 0] = NEVER / first
    return model


@torch.no_grad()
def make_stopping(
    model: "Qwen3ForCausalLM", prompts: Sequence[Sequence[int]], *, tokenizer: "PreTrainedTokenizerFast", chance: float, seed: int
) -> None:
    """Change the head of a model that never stops so that it ends its turn with this mean chance a token in answers to the prompts."""
    options = SamplingOptions(max_new_tokens=WRITTEN_TOKENS, samples=WRITTEN, seed=seed)
    answers = [[answer.ids for answer in group] for group in NativeSampler(model, tokenizer).generate(prompts, options)]
    packed, _ = read_answers(pack_trees(prompts, answers), answers_per_prompt=[len(group) for group in answers])
    hidden_TD = in_asked_order(forward_packed(model, packed, precision="float32"), packed)
    head = model.get_output_embeddings().weight
    others_T = (hidden_TD @ head.T).logsumexp(dim=-1)
    low, high = -100.0, 100.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_low = float((middle * hidden_TD[:, 0] - others_T).sigmoid().mean()) < chance
        low, high = (middle, high) if is_low else (low, middle)
    head[tokenizer.eos_token_id, 0] = high


def save_models(
    shape: ModelSettings, prompts: Sequence[Sequence[int]], *, tokenizer: "PreTrainedTokenizerFast", folder: Path, seed: int = 1
) -> None:
    """Write `plain`, an untouched random model; `fixed` and `stops`, that sample; `reward`, a reward model on the plain decoder.

    Args:
        prompts: token ids, of the kind that will be sampled from.
    """
    plain = create_model(shape, tokenizer=tokenizer, seed=seed)
    save_model(plain, tokenizer, folder / "plain")
    save_reward_model(create_reward_model(plain, seed=seed), tokenizer, folder / "reward", mean=0.0, scale=1.0)
    model = never_stopping_model(shape, tokenizer=tokenizer, seed=seed)
    save_model(model, tokenizer, folder / "fixed")
    make_stopping(model, prompts, tokenizer=tokenizer, chance=STOP_CHANCE, seed=seed)
    save_model(model, tokenizer, folder / "stops")
