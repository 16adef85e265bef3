"""The packed forward as modules, for engines that keep parameters in parts and gather a module's when it is called.

Each part's forward reads its own parameters and runs the very functions of `forward.py`, so values and gradients equal
those of `forward_packed`. The parts hold the transformers model's modules themselves: parameters are shared, and keep
their names there. Batches are passed by keyword: hooks look at positional arguments for tensors that carry gradients.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from components.errors import SettingsError
from components.modeling.adapters import has_adapters
from components.modeling.forward import final_norm, forward_layer, rotary_tables
from components.modeling.logprobs import head_logprobs
from components.modeling.packing import PackedBatch
from components.modeling.precision import Precision, products_in
from components.modeling.weights import DecoderWeights, head_shape, layer_weights, refuse_unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PackedEmbedding(nn.Module):
    """Token ids to the residual stream, float32.

    The module itself is called, not its weight read: DeepSpeed can treat as one only parts whose input carries a gradient.
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        embedding.padding_idx = None  # as in `forward_packed`, the pad token is one that may be sampled and learns like others

    def forward(self, *, ids_T: Tensor) -> Tensor:
        """Return (tokens, hidden)."""
        return self.embedding(ids_T).float()


class PackedLayer(nn.Module):
    """One decoder layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden_TD: Tensor, *, numbers: DecoderWeights, rotary: tuple[Tensor, Tensor], batch: PackedBatch, recompute: bool
    ) -> Tensor:
        """Return (tokens, hidden); what is recomputed lies within, where the engine has gathered the weights."""

        def run(hidden_TD: Tensor) -> Tensor:
            weights = layer_weights(self.layer, numbers.shape, numbers.products)
            return forward_layer(hidden_TD, layer=weights, weights=numbers, rotary=rotary, batch=batch)

        if recompute and torch.is_grad_enabled():
            return checkpoint(run, hidden_TD, use_reentrant=False, preserve_rng_state=False)
        return run(hidden_TD)


class PackedHead(nn.Module):
    """The last norm and the head, read at chosen tokens."""

    def __init__(self, norm: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.head = head

    def forward(
        self, hidden_TD: Tensor, *, numbers: DecoderWeights, tokens_A: Tensor, targets_A: Tensor, temperature: float,
        precision: Precision, with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return log-probabilities and entropies of targets, two (targets,) tensors."""
        weights = replace(numbers, final_norm=self.norm.weight)
        hidden_AD = final_norm(hidden_TD, weights).index_select(0, tokens_A)
        return head_logprobs(
            self.head.weight, hidden_AD, targets_A, temperature=temperature, precision=precision, with_entropy=with_entropy
        )


READ_WHOLE = (PackedLayer, PackedHead)  # parts that read parameters of modules within them, which are not called
PARTS = (PackedEmbedding, *READ_WHOLE)


class PackedModel(nn.Module):
    """A decoder with its head; called through `packed_pass.py`."""

    is_packed = True

    def __init__(self, model: "PreTrainedModel") -> None:
        """Wrap a model.

        Raises:
            SettingsError: its architecture is not supported, it carries adapters, or its head is its embedding.
        """
        super().__init__()
        refuse_unsupported(model.config)
        if has_adapters(model):
            raise SettingsError("adapters.rank: adapters are trained whole; use engine.strategy single or ddp, or adapters.rank: 0")
        decoder, head = model.base_model, model.get_output_embeddings()
        if head.weight is decoder.embed_tokens.weight:
            raise SettingsError("model: its head is its embedding (tie_word_embeddings), which cannot lie in two parts; use engine.strategy single or ddp")
        self.embedding = PackedEmbedding(decoder.embed_tokens)
        self.layers = nn.ModuleList(PackedLayer(layer) for layer in decoder.layers)
        self.head = PackedHead(decoder.norm, head)
        self.config = model.config
        self.register_buffer("inverse_frequencies", decoder.rotary_emb.inv_freq.float(), persistent=False)

    def forward(
        self, batch: PackedBatch, tokens_A: Tensor, targets_A: Tensor, *,
        temperature: float = 1.0, precision: Precision, with_entropy: bool = False, recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return log-probabilities and entropies of `targets_A` as tokens `tokens_A` predict them."""
        numbers, device = self._numbers(precision), self.inverse_frequencies.device
        batch, tokens_A, targets_A = batch.on(device), tokens_A.to(device), targets_A.to(device)
        rotary = rotary_tables(numbers, batch.positions_T)
        hidden_TD = self.embedding(ids_T=batch.ids_T)
        for layer in self.layers:
            hidden_TD = layer(hidden_TD, numbers=numbers, rotary=rotary, batch=batch, recompute=recompute)
        return self.head(
            hidden_TD, numbers=numbers, tokens_A=tokens_A, targets_A=targets_A, temperature=temperature,
            precision=precision, with_entropy=with_entropy,
        )  # fmt: skip

    def _numbers(self, precision: Precision) -> DecoderWeights:
        """Return the numbers of a pass, without weights."""
        none = self.inverse_frequencies.new_empty(0)
        return DecoderWeights(
            embedding=none, layers=(), final_norm=none, shape=head_shape(self.config), norm_epsilon=self.config.rms_norm_eps,
            inverse_frequencies=self.inverse_frequencies.float(), products=products_in(precision),
        )  # fmt: skip
