"""A model whose parameters an engine kept in parts, made plain again."""

from collections.abc import Mapping

from torch import Tensor, nn


def make_plain(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Replace every parameter by an ordinary one of the given whole weight; whether it is trained stays as it was.

    Args:
        weights: by the model's own names, one for each parameter.
    """
    for name, parameter in list(model.named_parameters()):
        owner, _, last = name.rpartition(".")
        plain = nn.Parameter(weights[name].detach().clone(), requires_grad=parameter.requires_grad)
        setattr(model.get_submodule(owner), last, plain)
