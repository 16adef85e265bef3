"""The engine that the settings name, for a model and an optimiser."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.settings.engine import EngineSettings
from components.settings.training import OptimiserSettings, Precision
from components.training.engines.engine import Engine
from components.training.engines.ranks import join_ranks
from components.training.engines.torch_engine import NormOrder, TorchEngine

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def create_engine(
    model: "PreTrainedModel", optimiser: OptimiserSettings, settings: EngineSettings | None = None, *,
    precision: Precision = "auto", norm_order: NormOrder = "optimiser",
) -> Engine:  # fmt: skip
    """Return the engine; without settings, one process on torch alone.

    Args:
        precision, norm_order: see `TorchEngine`.
    Raises:
        SettingsError: several processes are asked for and torchrun did not start them, or the engine cannot run this model or optimiser.
    """
    if settings is None or settings.is_single:
        return TorchEngine(model, optimiser, precision=precision, norm_order=norm_order)
    ranks = join_ranks()
    if settings.strategy == "ddp":
        return TorchEngine(model, optimiser, ranks=ranks, precision=precision, norm_order=norm_order)
    if settings.strategy == "fsdp":
        from components.training.engines.fsdp_engine import FsdpEngine

        return FsdpEngine(model, optimiser, ranks=ranks, precision=precision)
    from components.training.engines.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(model, optimiser, config=Path(settings.config), ranks=ranks)
