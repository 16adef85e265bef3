"""A model whose parameters an engine keeps in parts, made plain: for a while, or for good."""

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn


def make_plain(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Replace every parameter by an ordinary one of the given whole weight; whether it is trained stays as it was.

    Args:
        weights: by the model's own names, one for each parameter.
    """
    for name, parameter in list(model.named_parameters()):
        _put(model, name, nn.Parameter(weights[name].detach(), requires_grad=parameter.requires_grad))


@contextlib.contextmanager
def plain_for_a_while(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Do `make_plain`, and put the engine's own parameters back at the end."""
    own = dict(model.named_parameters())
    make_plain(model, weights)
    try:
        yield
    finally:
        for name, parameter in own.items():
            _put(model, name, parameter)


def _put(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, parameter)
