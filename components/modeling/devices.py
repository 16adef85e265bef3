"""Where models lie: on this process's GPU, where torch finds one, else on the processor.

`CUDA_VISIBLE_DEVICES=` (empty) keeps a machine's GPUs out of it. Several processes of one machine take a GPU each, by
the `LOCAL_RANK` that torchrun gives them.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def own_device() -> "torch.device":
    """Return the device that this process loads models to."""
    import torch

    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")
