"""vLLM beside the trainer, in this environment: an `Engine` in processes of its own, so that the trainer's threads and random
numbers are left alone.

Facts of vLLM 0.32 that this rests on: `reload_weights` replaces weights in place; `logprobs_mode="processed_logprobs"` gives
log-probabilities at the sampling temperature, and at temperature 1 for greedy answers.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ServiceError
from components.generation.call_thread import CallThread
from components.generation.engine_requests import FREE_SHARE, EngineAnswer, EnginePart, finish_reason
from components.generation.process_tree import child_processes, end_processes, has_ended, started_since
from components.generation.vllm_worker import EXTENSION

if TYPE_CHECKING:
    from components.settings.generation import VllmSettings

CLOSE_SECONDS = 30.0
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class ColocatedEngine:
    """An `Engine` whose processes run beside this one on the same machine; needs vLLM in this environment."""

    def __init__(self, folder: Path, *, context: int, dtype: str, settings: "VllmSettings") -> None:
        self.call_seconds = settings.call_seconds
        self._thread = CallThread("vLLM")
        self._engine: Any = None
        others = child_processes()
        self._thread.call(_import, seconds=settings.start_seconds, what="importing vllm")
        try:
            self._engine = self._thread.call(
                lambda: _start(folder, context=context, dtype=dtype, settings=settings),
                seconds=settings.start_seconds, what="starting the engine",
            )  # fmt: skip
        except BaseException:
            end_processes(started_since(others))
            raise
        self.processes = started_since(others)
        self._cores = [process for process in self.processes if process.ppid() == os.getpid()]  # they end when a worker does

    def draw(self, prompts: Sequence[Sequence[int]], requests: Sequence[dict[str, Any]]) -> list[list[EngineAnswer]]:
        """Return each prompt's answers; see `Engine.draw`."""
        outputs = self._generate(prompts, requests, what=f"sampling {len(prompts)} prompts")
        return [[_answer(item) for item in sorted(output.outputs, key=lambda item: item.index)] for output in outputs]

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the tokens' log-probabilities; see `Engine.score`."""
        request = {"max_tokens": 1, "temperature": 0.0, "ignore_eos": True, "prompt_logprobs": 0}
        outputs = self._generate(sequences, [request] * len(sequences), what=f"scoring {len(sequences)} probes")
        return [
            [chosen[token].logprob for chosen, token in zip(output.prompt_logprobs[1:], sequence[1:], strict=True)]
            for output, sequence in zip(outputs, sequences, strict=True)
        ]

    def call_workers(self, method: str, arguments: dict[str, Any]) -> None:
        """Call a method of all workers; see `Engine.call_workers`."""
        self._call(lambda: self._engine.collective_rpc(method, timeout=self.call_seconds, kwargs=arguments), what=method)

    def forget_prompts(self) -> None:
        """Reset the prefix cache; see `Engine.forget_prompts`."""
        if not self._call(lambda: self._engine.reset_prefix_cache(), what="resetting the prefix cache"):
            raise ServiceError("vLLM: the prefix cache could not be reset after new weights: it is in use; sync between two batches")

    def sleep(self) -> None:
        """Free the engine's memory; see `Engine.sleep`."""
        self._call(lambda: self._engine.sleep(level=2), what="sleeping")

    def wake(self, part: EnginePart) -> None:
        """Take back a part's memory; see `Engine.wake`."""
        self._call(lambda: self._engine.wake_up(tags=[part]), what=f"waking its {part}")

    def close(self) -> None:
        """End the engine; what does not end in time is killed."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        if not self._thread.is_busy:  # else an interrupted call still waits for it
            with contextlib.suppress(ServiceError):  # dead or stuck: its processes are ended below
                self._thread.call(engine.llm_engine.engine_core.shutdown, seconds=CLOSE_SECONDS, what="ending the engine")
        end_processes(self.processes)

    def _generate(self, prompts: Sequence[Sequence[int]], requests: Sequence[dict[str, Any]], *, what: str) -> list[Any]:
        from vllm import SamplingParams

        inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        parameters = [SamplingParams(**request, detokenize=False) for request in requests]
        return self._call(lambda: self._engine.generate(inputs, parameters, use_tqdm=False), what=what)

    def _call(self, function: Any, *, what: str) -> Any:
        """Call the engine in its thread; one that did not answer in time is ended, so that nothing waits on it."""
        if self._engine is None:
            raise ServiceError(f"vLLM: {what} was asked of an engine that has ended; start the run again")
        try:
            return self._thread.call(function, seconds=self.call_seconds, what=what, watch=self._refuse_dead)
        except ServiceError:
            if self._thread.is_lost:
                self._engine = None
                end_processes(self.processes)
            raise

    def _refuse_dead(self) -> None:
        if any(has_ended(process) for process in self._cores):
            raise ServiceError("vLLM: the engine's process has ended (killed, or short of memory); see its log above and start the run again")


def _import() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise ServiceError(
            f"vLLM cannot be imported in this environment ({error}); make one with `make vllm-env` and run the stage there, or set the "
            "stage's sampler to native or vllm_server"
        ) from None


def _start(folder: Path, *, context: int, dtype: str, settings: "VllmSettings") -> Any:
    from vllm import LLM

    preloaded = os.environ.get("LD_PRELOAD")
    try:
        return LLM(
            str(folder), dtype=dtype, max_model_len=context, enforce_eager=settings.eager, enable_sleep_mode=settings.sleep, max_num_seqs=settings.sequences,
            kv_cache_memory_bytes=int(settings.cache_gib * 2**30), gpu_memory_utilization=FREE_SHARE, logprobs_mode="processed_logprobs",
            generation_config="vllm", tensor_parallel_size=settings.workers, skip_tokenizer_init=True, worker_extension_cls=EXTENSION, seed=0,
        )  # fmt: skip
    finally:  # vLLM preloads its allocator for its own processes; those of the trainer go without
        os.environ.pop("LD_PRELOAD", None)
        if preloaded is not None:
            os.environ["LD_PRELOAD"] = preloaded


def _answer(output: Any) -> EngineAnswer:
    ids = tuple(output.token_ids)
    logprobs = tuple(chosen[token].logprob for chosen, token in zip(output.logprobs, ids, strict=True))
    return EngineAnswer(ids, logprobs, finish_reason(output.finish_reason))
