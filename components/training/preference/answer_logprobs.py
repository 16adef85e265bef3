"""Log-probabilities of whole answers under a policy, their prompt laid in once (a tree; exact), and of a frozen reference.

An answer's log-probability is the sum over its tokens, end of turn included; no prompt token counts.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import Message
from components.errors import DataError
from components.modeling.micro_batches import cut_by_tokens
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_trees
from components.modeling.precision import Precision
from components.modeling.reading import read_answers
from components.modeling.tokenizers import CONTROL_TOKENS, TURN_END, encode_prompts, encode_texts
from components.rewards.reward_model import Encoded
from components.training.engines.ranks import SINGLE, Ranks
from components.training.engines.sharing import Pass
from components.training.preference.prompt_pairs import PromptPairs

Passes = Callable[[Sequence[int]], list[Pass[int]]]  # indices of a batch's groups → this rank's passes over them


def encode_whole_answers(
    tokenizer: PreTrainedTokenizerFast, conversations: Sequence[Sequence[Message]], answers: Sequence[str]
) -> list[Encoded]:
    """Return (prompt ids, answer ids): reasoning stays, the end of turn is the last token, as a sampler would write it.

    Raises:
        DataError: an answer contains a control token.
    """
    for answer in answers:
        if found := next((token for token in CONTROL_TOKENS if token in answer), None):
            raise DataError(f"an answer of a preference pair contains the control token {found}; remove it from the text")
    end = tokenizer.convert_tokens_to_ids(TURN_END)
    prompts, texts = encode_prompts(tokenizer, conversations), encode_texts(tokenizer, answers)
    return [(tuple(prompt), (*ids, end)) for prompt, ids in zip(prompts, texts, strict=True)]


def answer_logprobs(
    model: PreTrainedModel, groups: Sequence[PromptPairs], *, precision: Precision, recompute: bool = False
) -> Tensor:
    """Return log π(answer | prompt) of every distinct answer of some prompts, (answers,), float32, in nats."""
    packed = pack_trees([group.answers[0][0] for group in groups], [[ids for _, ids in group.answers] for group in groups])
    packed, targets_T = read_answers(packed, answers_per_prompt=[len(group.answers) for group in groups])
    logprobs_T, _ = token_logprobs(model, packed, targets_T, precision=precision, recompute=recompute)
    return torch.stack([part.sum() for part in logprobs_T.split(list(packed.lengths))])


@torch.no_grad()
def reference_logprobs(
    model: PreTrainedModel, groups: Sequence[PromptPairs], batches: Sequence[Sequence[int]], *, passes: Passes, precision: Precision, ranks: Ranks = SINGLE
) -> list[Tensor]:
    """Return `answer_logprobs` of each group, (answers,); zeros, which nothing reads and a checkpoint may hold, for groups in no batch.

    Every group is scored in the pass that holds it first, so that a policy equal to the reference gives the same bits
    there and the first step's log ratios are 0.

    Args:
        model: whole on every rank; each scores its own passes, and all are given all.
    """
    found: dict[int, Tensor] = {}
    missing = {index for batch in batches for index in batch}
    for batch in batches:
        for part in passes(batch):
            if not part.is_counted or missing.isdisjoint(part.items):
                continue
            logprobs = answer_logprobs(model, [groups[index] for index in part.items], precision=precision)
            for index, values in zip(part.items, logprobs.split([len(groups[index].answers) for index in part.items]), strict=True):
                if index in missing:
                    found.setdefault(index, values.clone())
        missing -= {*batch}  # the other ranks have scored the rest of it
    found = _of_all_ranks(found, ranks)
    like = next(iter(found.values()), torch.empty(0))
    return [found[index] if index in found else like.new_zeros(len(group.answers)) for index, group in enumerate(groups)]


def _of_all_ranks(found: dict[int, Tensor], ranks: Ranks) -> dict[int, Tensor]:
    """Return what all ranks found, the same on each; of what several found, the first one's."""
    if ranks.size == 1:
        return found
    like = next(iter(found.values()), torch.empty(0))
    joined: dict[int, Tensor] = {}
    for rows in ranks.gather([[index, values.tolist()] for index, values in found.items()]):
        for index, values in rows:
            joined.setdefault(index, like.new_tensor(values))
    return joined


def micro_batches(groups: Sequence[PromptPairs], batch: Sequence[int], *, micro_tokens: int) -> list[list[int]]:
    """Cut a step's indices of groups into passes of at most `micro_tokens` tokens, one group each at least."""
    return cut_by_tokens(batch, tokens=lambda index: groups[index].tokens, micro_tokens=micro_tokens)
