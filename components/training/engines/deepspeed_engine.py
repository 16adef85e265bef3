"""Training with DeepSpeed's ZeRO (arXiv:1910.02054): moments (1), gradients (2), weights (3) in parts on the ranks.

DeepSpeed averages gradients over ranks and ours add up, so losses are multiplied by their number; it is told nothing of
accumulation, since passes a step vary: `step` ends one (`managed_gradient_accumulation: false`). Weights are float32, and
products as precise as the stage's `precision` says, as under every engine.

Departure: checkpoints are not DeepSpeed's own files, which are pickles of one number of ranks, but whole float32 weights
and moments as safetensors under the names all engines use. They are gathered on every rank, which asks for that memory.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from components.errors import SettingsError, StorageError
from components.modeling.packed_model import READ_WHOLE, packed_model
from components.settings.training import OptimiserSettings
from components.training.engines.deepspeed_config import read_deepspeed_config, refuse_unreadable
from components.training.engines.engine import Engine
from components.training.engines.ranks import Ranks
from components.training.engines.sharing import Pass
from components.training.engines.whole_weights import make_plain
from components.training.optimisation import create_optimiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOMENTS = ("exp_avg", "exp_avg_sq")


class DeepSpeedEngine(Engine):
    """A DeepSpeed engine around a `PackedDecoder`."""

    def __init__(self, model: "PreTrainedModel", optimiser: OptimiserSettings, *, config: Path, ranks: Ranks) -> None:
        """Hand the model to DeepSpeed.

        Args:
            config: see `read_deepspeed_config`.
        Raises:
            SettingsError: Muon, which needs whole matrices; DeepSpeed is missing; its configuration cannot be read; or the
                model is one that cannot lie in parts (see `packed_model`).
        """
        if optimiser.kind == "muon":
            raise SettingsError("optimiser.kind: muon works on whole matrices, and DeepSpeed cuts across them; use adamw, or engine.strategy fsdp or ddp")
        options = read_deepspeed_config(config, clip_norm=optimiser.clip_norm)
        packed = packed_model(model)
        deepspeed = _import_deepspeed()
        refuse_unreadable(options, path=config)
        self.whole, self.ranks = model, ranks
        self.stage = options["zero_optimization"]["stage"]
        self.is_sharded = True  # gradients are exchanged at every backward, so ranks must run as many
        self.named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        if self.stage == 3:
            deepspeed.utils.set_z3_leaf_modules(packed, list(READ_WHOLE))
        (adamw,) = create_optimiser(model, optimiser).parts
        self.model, *_ = deepspeed.initialize(model=packed, optimizer=adamw, config=options)
        self.zero = self.model.optimizer
        self._lay_out_moments()

    def backward(self, loss: Tensor, part: Pass[Any]) -> None:
        """See `Engine.backward`."""
        self.model.backward(loss * (self.ranks.size if part.is_counted else 0.0), scale_wrt_gas=False)

    def clear(self) -> None:
        """Drop gradients; what ZeRO has already put into its parts goes with the next engine of this model."""
        self.zero.zero_grad(set_to_none=True)

    def step(self, *, rate: float, clip_norm: float) -> float:
        """See `Engine.step`."""
        for group in self.zero.param_groups:
            group["lr"] = rate
        self.zero.clip_grad = clip_norm
        self.model.step()
        return math.nan if self.zero.overflow else float(self.model.get_global_grad_norm())

    def gradient_norm(self) -> float:
        """Return NaN: what has been exchanged lies in parts whose norm DeepSpeed takes only in a step."""
        return math.nan

    @contextlib.contextmanager
    def gathered(self) -> "Iterator[PreTrainedModel]":
        """See `Engine.gathered`: every rank enters with the parameters in the same order; never nested."""
        if self.stage < 3:
            yield self.whole
            return
        with _import_deepspeed().zero.GatheredParameters(list(self.whole.parameters())):
            yield self.whole

    def weights(self) -> dict[str, Tensor]:
        """See `Engine.weights`."""
        with self.gathered():
            return {name: value.detach().clone() for name, value in self.whole.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `Engine.load_weights`."""
        if missing := [name for name, parameter in self.named if name not in weights or weights[name].shape != _shape(parameter)]:
            raise StorageError(f"the checkpoint is of another model ({missing[0]} is missing or of another shape); delete its folder to start anew")
        for name, parameter in self.named:
            self._put(parameter, weights[name])
            with self._writable(parameter):
                parameter.data.copy_(weights[name])

    def tensors(self) -> dict[str, Tensor]:
        """See `Engine.tensors`."""
        utils = _import_deepspeed().utils
        tensors = {f"model.{name}": value for name, value in self.weights().items()}
        steps = next(iter(self._states()))["step"]
        for name, parameter in self.named:
            for key in MOMENTS:
                tensors[f"optimiser.{name}.{key}"] = utils.safe_get_full_optimizer_state(parameter, key).detach().clone()
            tensors[f"optimiser.{name}.step"] = torch.as_tensor(steps).detach().float().cpu().clone()
        return tensors

    def restore_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Engine.restore_tensors`."""
        self.load_weights({name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")})
        steps = {float(value) for name, value in tensors.items() if name.startswith("optimiser.") and name.endswith(".step")}
        if not steps:
            return
        for name, parameter in self.named:
            for key in MOMENTS:
                self._put(parameter, tensors[f"optimiser.{name}.{key}"], key=key)
        for state in self._states():
            state["step"] = torch.tensor(max(steps), device=state["step"].device)

    def finish(self) -> None:
        """See `Engine.finish`."""
        weights = self.weights()
        self.model.destroy()
        make_plain(self.whole, weights)

    @property
    def _flats(self) -> list[Tensor]:
        """The flat float32 parts this rank holds."""
        return self.zero.fp32_partitioned_groups_flat if self.stage == 3 else self.zero.single_partition_of_fp32_groups

    def _states(self) -> list[dict[str, Any]]:
        """Return the optimiser's state of each flat part."""
        return [self.zero.optimizer.state[flat] for flat in self._flats]

    def _lay_out_moments(self) -> None:
        """Give each flat part zero moments at step 0 before the first step, so that a checkpoint always has somewhere to go."""
        for flat in self._flats:
            moments = {key: torch.zeros_like(flat.data) for key in MOMENTS}
            self.zero.optimizer.state[flat] = {"step": torch.zeros((), dtype=torch.float32, device=flat.device), **moments}
        if self.stage < 3:
            self.zero._lazy_init_hp_params_optimizer_state()

    def _put(self, parameter: nn.Parameter, value: Tensor, *, key: str | None = None) -> None:
        """Put a whole tensor into the parts: the float32 weight, or a moment."""
        utils = _import_deepspeed().utils
        if self.stage == 3:  # parts are of equal size, the last one padded
            size = parameter.ds_tensor.numel()
            padded = value.new_zeros(size * self.ranks.size)
            padded[: value.numel()] = value.flatten()
            part = padded[size * self.ranks.rank : size * (self.ranks.rank + 1)]
            utils.safe_set_local_fp32_param(parameter, part) if key is None else utils.safe_set_local_optimizer_state(parameter, part, key)
        elif key is None:
            utils.safe_set_full_fp32_param(parameter, value)
        else:
            utils.safe_set_full_optimizer_state(parameter, value, key)

    def _writable(self, parameter: nn.Parameter) -> contextlib.AbstractContextManager[Any]:
        if self.stage < 3:
            return contextlib.nullcontext()
        return _import_deepspeed().zero.GatheredParameters([parameter], modifier_rank=0)


def _shape(parameter: nn.Parameter) -> torch.Size:
    return getattr(parameter, "ds_shape", parameter.shape)


def _import_deepspeed() -> Any:
    """Import DeepSpeed, on the processor where there is no GPU.

    Raises:
        SettingsError: it is not installed.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed
    except ImportError as error:
        raise SettingsError(f"engine.strategy: deepspeed cannot be imported ({error}); install the extra `compute`") from None
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled at the start, and serves inference alone
    return deepspeed
