"""Training with weights, gradients and moments in parts on the ranks: FSDP2 (`fully_shard`, arXiv:2304.11277's successor).

A layer's weights are gathered when it is called, forward and backward, and dropped after. To sample or to measure, the
whole weights are gathered at once on every rank: meant for models that fit; larger ones are sampled by vLLM. What is
saved is whole, so a run may go on with another number of ranks.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from components.modeling.packed_model import PARTS, packed_model
from components.settings.training import OptimiserSettings, Precision
from components.training.engines.engine import Engine
from components.training.engines.ranks import Ranks
from components.training.engines.whole_weights import make_plain, plain_for_a_while
from components.training.optimisation import (
    create_optimiser,
    load_named_weights,
    restore_training,
    step_optimiser,
    training_tensors,
)
from components.training.parts import in_parts_like, whole_tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FsdpEngine(Engine):
    """Weights in parts on the ranks."""

    is_sharded = True

    def __init__(self, model: "PreTrainedModel", optimiser: OptimiserSettings, *, ranks: Ranks, precision: Precision = "auto") -> None:
        """Shard the model in place.

        Args:
            precision: of Muon's products.
        Raises:
            SettingsError: the model is one that cannot lie in parts (see `packed_model`).
        """
        ranks.take_from_main(model.state_dict().values())
        self.whole, self.ranks = model, ranks
        self.model = packed_model(model)
        for part in self.model.modules():
            if isinstance(part, PARTS):
                _shard(part)
        _shard(self.model)
        self.optimiser = create_optimiser(model, optimiser, precision=precision)

    def clear(self) -> None:
        """Drop gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def step(self, *, rate: float, clip_norm: float) -> float:
        """See `Engine.step`."""
        return step_optimiser(self.optimiser, rate=rate, clip_norm=clip_norm)

    @contextlib.contextmanager
    def gathered(self) -> "Iterator[PreTrainedModel]":
        """See `Engine.gathered`."""
        with plain_for_a_while(self.whole, self.weights()):
            yield self.whole

    def weights(self) -> dict[str, Tensor]:
        """See `Engine.weights`."""
        return {name: whole_tensor(value.detach()).clone() for name, value in self.whole.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `Engine.load_weights`."""
        load_named_weights(self.whole, {name: self._in_parts(name, value) for name, value in weights.items()})

    def tensors(self) -> dict[str, Tensor]:
        """See `Engine.tensors`."""
        return {name: whole_tensor(value) for name, value in training_tensors(self.whole, self.optimiser).items()}

    def restore_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Engine.restore_tensors`."""
        parts = {}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            parts[key] = self._in_parts(name if kind == "model" else name.rpartition(".")[0], value)
        restore_training(self.whole, self.optimiser, parts)

    def finish(self) -> None:
        """See `Engine.finish`."""
        weights = self.weights()
        self.clear()
        make_plain(self.whole, weights)
        for module in self.whole.modules():  # FSDP's, which look for parts at every load of weights
            module._load_state_dict_post_hooks.clear()

    def _in_parts(self, name: str, value: Tensor) -> Tensor:
        """Return this rank's part of a tensor that is laid out like a parameter; others as they are."""
        parameter = dict(self.whole.named_parameters()).get(name)
        if parameter is None or parameter.shape != value.shape:
            return value
        return in_parts_like(value, parameter)


def _shard(part: nn.Module) -> None:
    """Lay a module's weights out in parts; gradients are added up over ranks, where FSDP would average."""
    sharded = fully_shard(part)
    sharded.set_gradient_divide_factor(1.0)
    sharded.set_force_sum_reduction_for_comms(True)
