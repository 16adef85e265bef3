"""Settings of a vLLM engine that draws a policy stage's answers; read where the stage's `sampler` is not `native`."""

from typing import Literal

from pydantic import Field

from components.settings.base import Section

SamplerKind = Literal["native", "vllm", "vllm_server"]  # see components/generation/


class VllmSettings(Section):
    """The engine (in a process of its own beside this one, or behind a server), and how its weights are checked."""

    python: str = Field(default="var/vllm/bin/python", description="vllm_server: interpreter of the environment with vLLM; from the project's root")
    url: str | None = Field(default=None, description="vllm_server: http://127.0.0.1:<port> of a server that runs already, started as components/generation/server_process.py does; null: start one")
    port: int = Field(default=0, ge=0, le=65535, description="vllm_server: port of the server that is started; 0: a free one")
    eager: bool = Field(default=True, description="no compilation: a CPU engine starts in a third of the time; false on a GPU")
    workers: int = Field(default=1, ge=1, description="GPUs that the engine cuts the model over (tensor parallel)")
    sleep: bool = Field(default=False, description="the engine frees its GPU memory while the trainer updates: for one that shares the trainer's GPU")
    weights: Literal["folder", "broadcast"] = Field(
        default="folder", description="how new weights reach the engine: by a folder of this machine, or over the network (gloo; between GPUs NCCL)"
    )
    address: str = Field(default="127.0.0.1", description="broadcast: this machine's address as the engine's workers reach it")
    transfer_seconds: float = Field(default=120.0, gt=0, description="broadcast: seconds the workers may take to meet the trainer, or to take a tensor")
    sequences: int = Field(default=256, ge=1, description="answers decoded side by side")
    cache_gib: float = Field(default=1.0, gt=0, description="GiB of memory for keys and values")
    start_seconds: float = Field(default=600.0, gt=0, description="seconds an engine or server may take until it answers")
    call_seconds: float = Field(default=1800.0, gt=0, description="seconds one call may take: sampling a batch, replacing weights")
    tolerance: float | None = Field(
        default=None, gt=0, description="nats a log-probability of the engine may be off after its weights were replaced; null: 0.001 in float32, 0.25 in bfloat16"
    )
