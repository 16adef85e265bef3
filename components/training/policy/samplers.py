"""Which sampler a policy stage draws with: this process, a vLLM engine beside it, or a vLLM server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.generation.native_sampler import NativeSampler
from components.generation.sampler import Sampler
from components.modeling.precision import dtype_of, resolve_precision

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.generation.engine_requests import Engine
    from components.generation.weight_broadcast import WeightBroadcast
    from components.generation.weight_folder import WeightFolder
    from components.settings.generation import SamplerKind, VllmSettings
    from components.settings.training import Precision


@contextlib.contextmanager
def policy_sampler(
    kind: "SamplerKind",
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    precision: "Precision",
    vllm: "VllmSettings",
    root: Path,
    is_recorded: bool = True,
) -> Iterator[Sampler]:
    """Yield the sampler; an engine or a server it needs runs as long as the block.

    Args:
        folder: the model's folder, which an engine starts from.
        root: the project's, for the server's interpreter and log.
        is_recorded: on a GPU, the native sampler replays steps as CUDA graphs.
    Raises:
        ServiceError: the engine or the server does not start.
    """
    if kind == "native":
        yield NativeSampler(model, tokenizer, precision=precision, is_recorded=None if is_recorded else False)
        return
    from components.generation.vllm_sampler import VllmSampler

    context = model.config.max_position_embeddings
    dtype = resolve_precision(precision)
    engine = start_engine(kind, folder, context=context, dtype=dtype, settings=vllm, root=root)
    sampler = VllmSampler(
        engine, tokenizer, vocabulary=model.config.vocab_size, context=context, dtype=dtype_of(precision), tolerance=vllm.tolerance,
        weights=weight_transfer(vllm, dtype=dtype_of(precision)), sleeps=vllm.sleep,
    )  # fmt: skip
    with contextlib.closing(sampler):
        yield sampler


def weight_transfer(settings: "VllmSettings", *, dtype: "torch.dtype") -> "WeightFolder | WeightBroadcast":
    """Return what brings the trainer's weights to the engine."""
    from components.generation.weight_broadcast import WeightBroadcast
    from components.generation.weight_folder import WeightFolder

    if settings.weights == "folder":
        return WeightFolder(dtype=dtype)
    return WeightBroadcast(dtype=dtype, workers=settings.workers, address=settings.address, seconds=settings.transfer_seconds)


def start_engine(kind: "SamplerKind", folder: Path, *, context: int, dtype: str, settings: "VllmSettings", root: Path) -> "Engine":
    """Start the engine of a kind other than native, or take the running server that `vllm.url` names.

    Raises:
        ServiceError: it does not start, or does not answer.
    """
    if kind == "vllm":
        from components.generation.colocated_engine import ColocatedEngine

        return ColocatedEngine(folder, context=context, dtype=dtype, settings=settings)
    from components.generation.http_calls import JsonServer
    from components.generation.server_engine import MODEL, ServerEngine
    from components.generation.server_process import ServerProcess, free_port, server_command

    if settings.url is not None:
        return ServerEngine(JsonServer(settings.url), call_seconds=settings.call_seconds)
    port = free_port(settings.port)
    command = server_command(root / settings.python, folder, port=port, context=context, dtype=dtype, settings=settings, model=MODEL)
    process = ServerProcess(command, port=port, log=root / "var" / "logs" / "vllm-server.log", start_seconds=settings.start_seconds)
    return ServerEngine(process.server, call_seconds=settings.call_seconds, process=process)
