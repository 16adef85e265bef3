"""The optimiser as every training loop uses it: made, stepped with clipping, and turned into tensors for a checkpoint.

Decay falls on matrices only (norm scales are left alone), as in arXiv:1711.05101's common use.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.errors import StorageError
from components.modeling.adapters import frozen_digest, load_trained_state, trained_state
from components.modeling.precision import Precision, products_in
from components.settings.training import OptimiserSettings
from components.training.muon import Muon
from components.training.parts import whole_tensor

if TYPE_CHECKING:
    from torch.nn import Module


OUTER = ("embed_tokens", "lm_head", "score")  # matrices that AdamW keeps under Muon: embeddings and heads


class MatrixOptimiser:
    """Muon for the matrices of the layers, AdamW for embeddings, head and norm scales, stepped as one.

    `rate_share` of a group is its learning rate as a share of the one asked for. `frozen` is the digest of the weights
    beside the trained ones, empty where all are trained.
    """

    def __init__(self, parts: "list[torch.optim.Optimizer]", *, frozen: str = "") -> None:
        self.parts = parts
        self.frozen = frozen

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both parts."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """Every parameter's moments, over both parts; a copy of the mapping, not of the tensors."""
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    @property
    def parameters(self) -> list[Tensor]:
        """Everything both parts step, group by group."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def restore(self, states: Mapping[Tensor, dict[str, Any]]) -> None:
        """Put moments back, each into the part that owns its parameter."""
        for part in self.parts:
            part.state.clear()
            for group in part.param_groups:
                for parameter in group["params"]:
                    if parameter in states:
                        part.state[parameter] = states[parameter]

    def set_rate(self, rate: float) -> None:
        """Set every group's learning rate to its share of `rate`."""
        for group in self.param_groups:
            group["lr"] = rate * group["rate_share"]

    def step(self) -> None:
        """Step both parts."""
        for part in self.parts:
            part.step()

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Clear all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)


def create_optimiser(model: "Module", settings: OptimiserSettings, *, precision: Precision = "auto") -> MatrixOptimiser:
    """Return the optimiser the settings name over the model's trainable parameters; `precision` is of Muon's products."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    scales = [parameter for _, parameter in named if parameter.dim() < 2]
    matrices = [(name, parameter) for name, parameter in named if parameter.dim() >= 2]
    is_muon = settings.kind == "muon"
    layers = [parameter for name, parameter in matrices if is_muon and not any(word in name for word in OUTER)]
    rest = [parameter for name, parameter in matrices if not is_muon or any(word in name for word in OUTER)]
    share = settings.outer_rate_share if is_muon else 1.0
    groups = [
        {"params": rest, "weight_decay": settings.weight_decay, "rate_share": share},
        {"params": scales, "weight_decay": 0.0, "rate_share": share},
    ]
    groups = [group for group in groups if group["params"]]
    parts: list[torch.optim.Optimizer] = []
    if groups:
        parts.append(torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True))
    if layers:
        group = {"params": layers, "rate_share": 1.0}
        rule = {"momentum": 0.95, "weight_decay": settings.weight_decay, "dtype": products_in(precision).multiplied}
        parts.append(Muon([group], lr=settings.learning_rate, **rule))
    return MatrixOptimiser(parts, frozen=frozen_digest(model))


def step_optimiser(
    optimiser: MatrixOptimiser, *, rate: float, clip_norm: float, parameters: Sequence[Tensor] | None = None
) -> float:
    """Clip the gradients' global norm, step at the given learning rate and clear them; return the norm before clipping.

    Where the norm is not finite, the weights stay as they are.

    Args:
        parameters: in the order their norms are added up, on which only the norm's last bits depend; None: the optimiser's.
    """
    norm = float(whole_tensor(torch.nn.utils.clip_grad_norm_(optimiser.parameters if parameters is None else parameters, clip_norm)))
    if math.isfinite(norm):
        optimiser.set_rate(rate)
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm


def training_tensors(model: "Module", optimiser: MatrixOptimiser) -> dict[str, Tensor]:
    """Return weights (`model.*`) and optimiser moments (`optimiser.*`) as flat named tensors for a checkpoint.

    Of a model with frozen weights only the trained ones are kept, and the digest of the frozen (`frozen`).
    """
    tensors = {f"model.{name}": value for name, value in trained_state(model).items()}
    if optimiser.frozen:
        tensors["frozen"] = torch.tensor(list(optimiser.frozen.encode()), dtype=torch.uint8)
    names = _parameter_names(model)
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            tensors[f"optimiser.{names[parameter]}.{key}"] = torch.as_tensor(value)
    return tensors


def restore_training(model: "Module", optimiser: MatrixOptimiser, tensors: dict[str, Tensor]) -> None:
    """Put weights and moments back from `training_tensors`.

    Raises:
        StorageError: the tensors are of another model, or of adapters on another model.
    """
    frozen = bytes(tensors["frozen"].tolist()).decode() if "frozen" in tensors else ""
    if frozen != optimiser.frozen:
        raise StorageError(
            f"the checkpoint was made on other frozen weights ({frozen[:12] or 'none'}, now {optimiser.frozen[:12] or 'none'}); "
            "delete its folder to start anew"
        )
    load_named_weights(model, {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")})
    states: dict[Tensor, dict[str, Any]] = defaultdict(dict)
    by_name = {name: parameter for parameter, name in _parameter_names(model).items()}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            parameter, _, key = name.removeprefix("optimiser.").rpartition(".")
            states[by_name[parameter]][key] = value.to(by_name[parameter].device, copy=True)
    optimiser.restore(states)


def load_named_weights(model: "Module", weights: Mapping[str, Tensor]) -> None:
    """Put the weights that training changes into a model, by name.

    Raises:
        StorageError: they are of another model, or of one with other adapters.
    """
    try:
        load_trained_state(model, dict(weights))
    except RuntimeError as error:
        raise StorageError(
            f"the checkpoint is of another model ({str(error).splitlines()[0]}); delete its folder to start anew"
        ) from error


def _parameter_names(model: "Module") -> dict[Tensor, str]:
    return {parameter: name for name, parameter in model.named_parameters()}
