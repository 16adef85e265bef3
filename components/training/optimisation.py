"""AdamW as every training loop uses it: made, stepped with clipping, and turned into tensors for a checkpoint.

Decay falls on matrices only (norm scales are left alone), as in arXiv:1711.05101's common use.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.errors import StorageError
from components.settings.training import OptimiserSettings

if TYPE_CHECKING:
    from torch.nn import Module


def create_optimiser(model: "Module", settings: OptimiserSettings) -> torch.optim.AdamW:
    """Return a fused AdamW over the model's trainable parameters."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    scales = [parameter for parameter in parameters if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def step_optimiser(optimiser: torch.optim.AdamW, *, rate: float, clip_norm: float) -> float:
    """Clip the gradients' global norm, step at the given learning rate and clear them; return the norm before clipping."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(norm)


def training_tensors(model: "Module", optimiser: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return weights (`model.*`) and optimiser moments (`optimiser.*`) as flat named tensors for a checkpoint."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    names = _parameter_names(model)
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            tensors[f"optimiser.{names[parameter]}.{key}"] = torch.as_tensor(value)
    return tensors


def restore_training(model: "Module", optimiser: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    """Put weights and moments back from `training_tensors`.

    Raises:
        StorageError: the tensors are of another model.
    """
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StorageError(
            f"the checkpoint is of another model ({str(error).splitlines()[0]}); delete its folder to start anew"
        ) from error
    optimiser.state.clear()
    by_name = {name: parameter for parameter, name in _parameter_names(model).items()}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            parameter, _, key = name.removeprefix("optimiser.").rpartition(".")
            optimiser.state[by_name[parameter]][key] = value.clone()


def _parameter_names(model: "Module") -> dict[Tensor, str]:
    return {parameter: name for name, parameter in model.named_parameters()}
