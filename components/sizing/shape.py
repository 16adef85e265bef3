"""A decoder's shape, read from a Hugging Face config.json: its parameters, cache bytes and operations a token.

Shapes: L layers, D hidden size, H heads, K key-value heads, S head size, F intermediate size, V vocabulary.
Operations count a multiplication and an addition as two; norms, softmax and rotary embedding are left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np

FAMILIES = {"qwen3": (True, False), "qwen2": (False, True), "llama": (False, False)}  # norms on query and key heads; biases on q, k and v
KEYS = {
    "layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads", "key_value_heads": "num_key_value_heads",
    "intermediate": "intermediate_size", "vocabulary": "vocab_size",
}  # fmt: skip
LARGEST = 10_000_000
Counts = TypeVar("Counts", float, "np.ndarray")


@dataclass(frozen=True)
class DecoderShape:
    """A dense decoder: attention with grouped heads, gated feed-forward; head norms and biases as its family has them."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    is_tied: bool = False
    has_head_norms: bool = True
    has_biases: bool = False

    @property
    def layer_matrices(self) -> int:
        """Parameters of one layer's matrices: D(H + 2K)S + HSD + 3DF."""
        attention = self.hidden * (self.heads + 2 * self.key_value_heads) * self.head_size + self.heads * self.head_size * self.hidden
        return attention + 3 * self.hidden * self.intermediate

    @property
    def body(self) -> int:
        """Parameters that every token is multiplied with: all layers' matrices, without embedding and head."""
        return self.layers * self.layer_matrices

    @property
    def finishing(self) -> int:
        """Parameters of one layer but its keys' and values': 2HSD + 3DF; in the last layer, needed only for tokens that are read."""
        return 2 * self.heads * self.head_size * self.hidden + 3 * self.hidden * self.intermediate

    @property
    def head(self) -> int:
        """Parameters of the head: V · D."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters: body, vectors, the last norm D, embedding, and the head where it is not the embedding.

        A layer's vectors: norms 2D, head norms 2S, biases (H + 2K)S.
        """
        vectors = 2 * self.hidden + (2 * self.head_size if self.has_head_norms else 0)
        vectors += (self.heads + 2 * self.key_value_heads) * self.head_size if self.has_biases else 0
        return self.body + self.layers * vectors + self.hidden + self.head * (1 if self.is_tied else 2)

    def cache_bytes(self, *, bytes_per_value: int = 2) -> int:
        """Bytes of keys and values a token: 2 · L · K · S · bytes (arXiv:2305.13245: grouped heads)."""
        return 2 * self.layers * self.key_value_heads * self.head_size * bytes_per_value

    def forward_flops(self, *, tokens: Counts, headed: Counts, seen: Counts, read: Counts | None = None) -> Counts:
        """Operations of a forward pass: 2 · body a token, 2 · head a token whose logits are needed, 4 · L · H · S a pair attended.

        2N a token: arXiv:2001.08361 §2.1; attention: arXiv:2204.02311 appendix B, here with the keys really seen. The last
        layer's queries, and what follows its attention, are counted for the tokens read alone (components/modeling/reading.py; a
        GPU computes the queries of all).

        Args: each a number, or arrays of one length for as many passes at once.
            tokens: tokens passed.
            headed: tokens whose logits are computed.
            seen: (query, key) pairs attended, over all tokens (in the last layer too, which on a processor attends for those read alone).
            read: tokens whose final state is used; None: all.
        """
        unread = 0.0 if read is None else 2.0 * self.finishing * (tokens - read)
        return 2.0 * self.body * tokens - unread + 2.0 * self.head * headed + 4.0 * self.layers * self.heads * self.head_size * seen

    def update_flops(self, *, tokens: float, headed: float, seen: float, recompute: bool) -> float:
        """Operations of forward and backward: three forwards, the logits once more (they are not kept), the layers once more where recomputed.

        Args: of `forward_flops`; the tokens whose logits are computed are those that are read.
        """
        forward = self.forward_flops(tokens=tokens, headed=headed, seen=seen, read=headed)
        again = self.forward_flops(tokens=tokens, headed=0, seen=seen, read=headed) if recompute else 0.0
        return 3.0 * forward + 2.0 * self.head * headed + again


def pairs_seen(*, prompts: float, prompt_tokens: float, answers_per_prompt: float, answer_tokens: float) -> float:
    """Return the pairs attended where each prompt is laid in once: p²/2 a prompt, a·p + a²/2 an answer."""
    each = answer_tokens * prompt_tokens + answer_tokens**2 / 2
    return prompts * (prompt_tokens**2 / 2 + answers_per_prompt * each)


def read_shape(path: Path) -> DecoderShape:
    """Read a config.json (or the folder that holds one).

    Raises:
        DataError: no such file, or it is not JSON.
        SettingsError: another architecture than the engine trains, or a number that is missing or out of range; names the key.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; name a Hugging Face config.json or the folder that holds one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}:{getattr(error, 'lineno', 1)}: not valid JSON; name a Hugging Face config.json") from None
    return config_shape(config if isinstance(config, dict) else {}, source=str(file))


def config_shape(config: Mapping[str, Any], *, source: str) -> DecoderShape:
    """Return the shape that a config's values describe; `source` names them in errors.

    Raises:
        SettingsError: see `read_shape`.
    """
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise SettingsError(f"{source}: model_type: {kind!r} is not planned for; dense decoders are: {', '.join(FAMILIES)}")
    numbers = {name: _number(source, config, key) for name, key in KEYS.items()}
    if numbers["heads"] % numbers["key_value_heads"]:
        raise SettingsError(f"{source}: num_attention_heads ({numbers['heads']}) must be a multiple of num_key_value_heads ({numbers['key_value_heads']})")
    if not config.get("head_dim") and numbers["hidden"] % numbers["heads"]:
        raise SettingsError(f"{source}: head_dim: missing, and hidden_size ({numbers['hidden']}) is no multiple of num_attention_heads ({numbers['heads']}); add it")
    size = _number(source, config, "head_dim") if config.get("head_dim") is not None else numbers["hidden"] // numbers["heads"]
    has_head_norms, has_biases = FAMILIES[kind]
    return DecoderShape(
        **numbers, head_size=size, is_tied=bool(config.get("tie_word_embeddings", False)), has_head_norms=has_head_norms, has_biases=has_biases
    )


def _number(source: str, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise SettingsError(f"{source}: {key}: {'missing' if value is None else f'found {value!r}'}; a whole number from 1 to {LARGEST:,} is needed")
    return value
