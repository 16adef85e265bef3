"""Training on torch alone: one process, or several that each hold the whole model (data parallel).

Several processes: gradients are summed once a step, after the last pass, in large exchanges, and every rank takes the
same optimiser step. Departure from torch's DistributedDataParallel: it averages, and exchanges at every backward unless
told not to; with gradients accumulated over passes there is nothing to overlap but the last.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from components.modeling.adapters import trained_state
from components.settings.training import OptimiserSettings, Precision
from components.training.engines.engine import Engine
from components.training.engines.ranks import SINGLE, Ranks
from components.training.optimisation import (
    create_optimiser,
    load_named_weights,
    restore_training,
    step_optimiser,
    training_tensors,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NormOrder = Literal["optimiser", "model"]


class TorchEngine(Engine):
    """Whole weights on every rank."""

    def __init__(
        self,
        model: "PreTrainedModel",
        optimiser: OptimiserSettings,
        *,
        ranks: Ranks = SINGLE,
        precision: Precision = "auto",
        norm_order: NormOrder = "optimiser",
    ) -> None:
        """Args: precision: of Muon's products; norm_order: order in which the gradients' norms are added up; only the norm's last bits depend on it."""
        self.model = self.whole = model
        self.ranks = ranks
        ranks.take_from_main(model.state_dict().values())
        self.optimiser = create_optimiser(model, optimiser, precision=precision)
        self.parameters = self.optimiser.parameters if norm_order == "optimiser" else [p for p in model.parameters() if p.requires_grad]

    def clear(self) -> None:
        """Drop gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def step(self, *, rate: float, clip_norm: float) -> float:
        """See `Engine.step`."""
        if self.ranks.size > 1:
            for parameter in self.parameters:
                if parameter.grad is None:  # a rank without a pass in this step
                    parameter.grad = torch.zeros_like(parameter)
            self.ranks.sum_in_place(parameter.grad for parameter in self.parameters)
        return step_optimiser(self.optimiser, rate=rate, clip_norm=clip_norm, parameters=self.parameters)

    def weights(self) -> dict[str, Tensor]:
        """See `Engine.weights`."""
        return {name: value.detach().clone() for name, value in trained_state(self.whole).items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `Engine.load_weights`."""
        load_named_weights(self.whole, weights)

    def tensors(self) -> dict[str, Tensor]:
        """See `Engine.tensors`."""
        return training_tensors(self.whole, self.optimiser)

    def restore_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Engine.restore_tensors`."""
        restore_training(self.whole, self.optimiser, dict(tensors))

    def finish(self) -> None:
        """Nothing to let go of but the gradients."""
        self.clear()
