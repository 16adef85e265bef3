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
from components.modeling.packed_batch import PackedBatch, ReadTokens
from components.modeling.precision import Precision, products_in
from components.modeling.reading import in_asked_order
from components.modeling.scalar_head import scalar_scores
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
        self, hidden_TD: Tensor, *, numbers: DecoderWeights, rotary: tuple[Tensor, Tensor], batch: PackedBatch, read: ReadTokens | None, recompute: bool
    ) -> Tensor:
        """Return what `forward_layer` does; what is recomputed lies within, where the engine has gathered the weights."""

        def run(hidden_TD: Tensor) -> Tensor:
            weights = layer_weights(self.layer, numbers.shape, numbers.products)
            return forward_layer(hidden_TD, layer=weights, weights=numbers, rotary=rotary, batch=batch, read=read)

        if recompute and torch.is_grad_enabled():
            return checkpoint(run, hidden_TD, use_reentrant=False, preserve_rng_state=False)
        return run(hidden_TD)


class PackedHead(nn.Module):
    """The last norm and the head."""

    def __init__(self, norm: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.head = head

    def forward(
        self, hidden_WD: Tensor, *, numbers: DecoderWeights, batch: PackedBatch, targets_A: Tensor, temperature: float,
        precision: Precision, with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return log-probabilities and entropies of targets, two (targets,) tensors."""
        weights = replace(numbers, final_norm=self.norm.weight)
        hidden_AD = in_asked_order(final_norm(hidden_WD, weights), batch)
        return head_logprobs(
            self.head.weight, hidden_AD, targets_A, temperature=temperature, precision=precision, with_entropy=with_entropy
        )


class PackedScore(nn.Module):
    """The last norm and a scalar head."""

    def __init__(self, norm: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.head = head

    def forward(self, hidden_WD: Tensor, *, numbers: DecoderWeights, batch: PackedBatch) -> Tensor:
        """Return the head's value at each token, (tokens,), float32; no view, on which an engine's hooks could be lost."""
        weights = replace(numbers, final_norm=self.norm.weight)
        return scalar_scores(in_asked_order(final_norm(hidden_WD, weights), batch), self.head.weight).clone()


READ_WHOLE = (PackedLayer, PackedHead, PackedScore)  # parts that read parameters of modules within them, which are not called
PARTS = (PackedEmbedding, *READ_WHOLE)


class PackedDecoder(nn.Module):
    """A decoder under `head`, the part that holds the last norm and what is read; called through `packed_pass.py`."""

    is_packed = True
    head: nn.Module

    def __init__(self, model: "PreTrainedModel") -> None:
        """Wrap a model.

        Raises:
            SettingsError: its architecture is not supported, or it carries adapters.
        """
        super().__init__()
        refuse_unsupported(model.config)
        if has_adapters(model):
            raise SettingsError("adapters.rank: adapters are trained whole; use engine.strategy single or ddp, or adapters.rank: 0")
        decoder = model.base_model
        self.embedding = PackedEmbedding(decoder.embed_tokens)
        self.layers = nn.ModuleList(PackedLayer(layer) for layer in decoder.layers)
        self.config = model.config
        self.register_buffer("inverse_frequencies", decoder.rotary_emb.inv_freq.float(), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where passes are computed."""
        return self.inverse_frequencies.device

    def hidden(self, batch: PackedBatch, *, numbers: DecoderWeights, recompute: bool) -> Tensor:
        """Return what the last norm reads: (tokens read, hidden), float32."""
        batch = batch.on(self.device)
        rotary = rotary_tables(numbers, batch.positions_T)
        hidden_TD = self.embedding(ids_T=batch.ids_T)
        for number, layer in enumerate(self.layers, start=1):
            read = batch.read if number == len(self.layers) else None
            hidden_TD = layer(hidden_TD, numbers=numbers, rotary=rotary, batch=batch, read=read, recompute=recompute)
        return hidden_TD

    def numbers(self, precision: Precision) -> DecoderWeights:
        """Return the numbers of a pass, without weights."""
        none = self.inverse_frequencies.new_empty(0)
        return DecoderWeights(
            embedding=none, layers=(), final_norm=none, shape=head_shape(self.config), norm_epsilon=self.config.rms_norm_eps,
            inverse_frequencies=self.inverse_frequencies.float(), products=products_in(precision),
        )  # fmt: skip


class PackedModel(PackedDecoder):
    """A language model."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Wrap a model.

        Raises:
            SettingsError: see `PackedDecoder`; or its head is its embedding.
        """
        super().__init__(model)
        head = model.get_output_embeddings()
        if head.weight is model.base_model.embed_tokens.weight:
            raise SettingsError("model: its head is its embedding (tie_word_embeddings), which cannot lie in two parts; use engine.strategy single or ddp")
        self.head = PackedHead(model.base_model.norm, head)

    def forward(
        self, batch: PackedBatch, targets_A: Tensor, *,
        temperature: float = 1.0, precision: Precision, with_entropy: bool = False, recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return log-probabilities and entropies of `targets_A` as the tokens read predict them."""
        numbers = self.numbers(precision)
        hidden_WD = self.hidden(batch, numbers=numbers, recompute=recompute)
        return self.head(
            hidden_WD, numbers=numbers, batch=batch, targets_A=targets_A.to(self.device), temperature=temperature, precision=precision,
            with_entropy=with_entropy,
        )  # fmt: skip


class PackedScorer(PackedDecoder):
    """A model with a scalar head."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Wrap a model; Raises: SettingsError: see `PackedDecoder`."""
        super().__init__(model)
        self.head = PackedScore(model.base_model.norm, model.score)

    def forward(self, batch: PackedBatch, *, precision: Precision, recompute: bool = False) -> Tensor:
        """Return the head's value at the tokens read, float32."""
        numbers = self.numbers(precision)
        hidden_WD = self.hidden(batch, numbers=numbers, recompute=recompute)
        return self.head(hidden_WD, numbers=numbers, batch=batch)


def packed_model(model: "PreTrainedModel") -> PackedDecoder:
    """Return the packed form of a language model, or of a model with a scalar head (`score`).

    Raises:
        SettingsError: it is one that cannot lie in parts.
    """
    return PackedScorer(model) if hasattr(model, "score") else PackedModel(model)
