"""The configuration DeepSpeed is given: a JSON file's ZeRO options, completed by what the stage's own settings decide."""

import json
from pathlib import Path
from typing import Any

from components.errors import SettingsError

DECIDED = (  # by the stage's settings, or by how our loops call the engine
    "optimizer", "scheduler", "gradient_clipping", "gradient_accumulation_steps", "managed_gradient_accumulation", "train_batch_size",
    "train_micro_batch_size_per_gpu", "fp16", "bf16", "torch_autocast", "communication_data_type", "prescale_gradients",
    "gradient_predivide_factor", "steps_per_print",
)  # fmt: skip
STAGES = (1, 2, 3)


def read_deepspeed_config(path: Path, *, clip_norm: float) -> dict[str, Any]:
    """Return the configuration of a file.

    Args:
        clip_norm: gradient norm that steps are clipped to.
    Raises:
        SettingsError: the file is missing, is not JSON, names no ZeRO stage, or holds what other settings decide.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"engine.config: {path} cannot be read as JSON ({error}); name a DeepSpeed configuration such as infra/deepspeed/zero2.json") from None
    zero = config.get("zero_optimization") if isinstance(config, dict) else None
    if not isinstance(zero, dict) or zero.get("stage") not in STAGES:
        raise SettingsError(f"engine.config: {path}: zero_optimization.stage is not 1, 2 or 3, so nothing would lie in parts; name one, or use engine.strategy ddp")
    if decided := sorted(set(DECIDED) & set(config)):
        raise SettingsError(f"engine.config: {path}: {', '.join(decided)} cannot be set here; the stage's own settings decide it")
    fixed = {"train_micro_batch_size_per_gpu": 1, "managed_gradient_accumulation": False, "gradient_clipping": clip_norm}
    return {**config, **fixed, "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False, "steps_per_print": 1 << 31}


def refuse_unreadable(config: dict[str, Any], *, path: Path) -> None:
    """Let DeepSpeed read a configuration before a model is handed to it; DeepSpeed must be imported.

    Raises:
        SettingsError: it refuses an option; names it.
    """
    from deepspeed.runtime.zero.config import get_zero_config
    from pydantic import ValidationError

    try:
        get_zero_config(config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("zero_optimization", *first["loc"])))
        raise SettingsError(f"engine.config: {path}: {place}: {first['msg']}; see DeepSpeed's documentation of ZeRO options") from None
