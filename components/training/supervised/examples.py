"""Examples: token ids with a mask of those to learn, made from chat samples or from plain documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.conversations import Sample
from components.lineage import digest_value
from components.modeling.tokenizers import END_OF_TEXT, encode_samples, encode_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Example:
    """One isolated sequence. `is_target[t]` says that token t is predicted and counted; the first never is."""

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]

    @property
    def targets(self) -> int:
        """Tokens counted in the loss."""
        return sum(self.is_target[1:])


def chat_examples(
    tokenizer: "PreTrainedTokenizerFast", samples: Sequence[Sample], *, context: int
) -> list[Example | None]:
    """Return an example for each sample, None for one longer than `context` tokens (cut answers teach not to end)."""
    encoded = encode_samples(tokenizer, [sample.messages for sample in samples])
    return [Example(tuple(ids), tuple(mask)) if len(ids) <= context else None for ids, mask in encoded]


def text_examples(tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str], *, context: int) -> list[Example]:
    """Return `<|endoftext|> text <|endoftext|>`, cut into pieces of at most `context` tokens; every token is a target."""
    edge = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    examples = []
    for ids in encode_texts(tokenizer, list(texts)):
        whole = [edge, *ids, edge]
        # Pieces overlap by the one token that predicts the next piece's first.
        for start in range(0, len(whole) - 1, context - 1):
            piece = whole[start : start + context]
            examples.append(Example(tuple(piece), (False,) + (True,) * (len(piece) - 1)))
    return examples


def examples_digest(examples: Sequence[Example], plan: Sequence[Sequence[int]]) -> str:
    """Return the digest of what a run trains on and in which order; a checkpoint of other data is refused by it."""
    return digest_value(
        [[list(example.ids), list(example.is_target)] for example in examples] + [[list(batch) for batch in plan]]
    )
