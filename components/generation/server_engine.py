"""A vLLM server as an engine: token ids in and out over its OpenAI-compatible interface, on loopback.

One request a prompt, because a request has one seed. Weights are replaced by the server's control calls, which it has
only in development mode (`VLLM_SERVER_DEV_MODE=1`) and which ask for no key: never let it listen beyond loopback.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.errors import ServiceError
from components.generation.engine_requests import EngineAnswer, EnginePart, finish_reason
from components.generation.http_calls import JsonServer
from components.generation.server_process import ServerProcess

CONNECTIONS = 64  # requests on their way side by side; the server queues what it cannot take
MODEL = "policy"  # name the model is served under


class ServerEngine:
    """An `Engine` behind HTTP; ends the server with itself where it is given its process."""

    def __init__(self, server: JsonServer, *, call_seconds: float, model: str = MODEL, process: ServerProcess | None = None) -> None:
        self.server = server
        self.call_seconds = call_seconds
        self.model = model
        self.process = process

    def draw(self, prompts: Sequence[Sequence[int]], requests: Sequence[dict[str, Any]]) -> list[list[EngineAnswer]]:
        """Return each prompt's answers; see `Engine.draw`."""
        pairs = zip(prompts, requests, strict=True)
        return self._each([completion_request(prompt, request, model=self.model) for prompt, request in pairs], parsed_answers)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the tokens' log-probabilities; see `Engine.score`."""
        request = {"max_tokens": 1, "temperature": 0.0, "ignore_eos": True, "prompt_logprobs": 0}
        answers = self._each([completion_request(sequence, request, model=self.model) for sequence in sequences], lambda answer: answer)
        return [parsed_scores(answer, sequence) for answer, sequence in zip(answers, sequences, strict=True)]

    def call_workers(self, method: str, arguments: dict[str, Any]) -> None:
        """Call a method of all workers; see `Engine.call_workers`."""
        self._post("/collective_rpc", {"method": method, "kwargs": arguments, "timeout": self.call_seconds})

    def forget_prompts(self) -> None:
        """Reset the prefix cache; see `Engine.forget_prompts`."""
        answer = self._post("/reset_prefix_cache", {})
        if answer is not None and not answer.get("success", True):
            raise ServiceError(f"{self.server.url}: the prefix cache could not be reset after new weights: it is in use; let nothing else use the server")

    def sleep(self) -> None:
        """Free the engine's memory; see `Engine.sleep`."""
        self._post("/sleep?level=2", {})

    def wake(self, part: EnginePart) -> None:
        """Take back a part's memory; see `Engine.wake`."""
        self._post(f"/wake_up?tags={part}", {})

    def close(self) -> None:
        """End the server where it is ours."""
        if self.process is not None:
            self.process.close()

    def _each(self, contents: Sequence[dict[str, Any]], parse: Any) -> list[Any]:
        pool = ThreadPoolExecutor(max_workers=max(1, min(CONNECTIONS, len(contents))))
        try:
            futures = [pool.submit(self._post, "/v1/completions", content) for content in contents]
            return [parse(future.result()) for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after a failure the others are not waited for

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        if self.process is not None:
            self.process.refuse_dead()
        return self.server.post(path, content, seconds=self.call_seconds)


def completion_request(prompt: Sequence[int], request: dict[str, Any], *, model: str) -> dict[str, Any]:
    """Return the body of a request to /v1/completions: token ids in, token ids out, nothing added to the prompt."""
    return {"model": model, "prompt": list(prompt), "add_special_tokens": False, "return_token_ids": True, **request}


def parsed_answers(answer: Any) -> list[EngineAnswer]:
    """Return the answers of a response of /v1/completions, in the order of their samples.

    Raises:
        ServiceError: ids or log-probabilities are missing or not one a token.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        parts = [(tuple(choice["token_ids"]), tuple(choice["logprobs"]["token_logprobs"]), choice["finish_reason"]) for choice in choices]
    except (KeyError, TypeError) as error:
        raise ServiceError(f"vLLM server: a response without {error}; it must be a vLLM that knows return_token_ids and logprobs") from None
    for ids, logprobs, _ in parts:
        if len(ids) != len(logprobs) or None in logprobs:
            raise ServiceError(f"vLLM server: {len(logprobs)} log-probabilities for {len(ids)} tokens, or an empty one; check its version")
    return [EngineAnswer(ids, logprobs, finish_reason(reason)) for ids, logprobs, reason in parts]


def parsed_scores(answer: Any, sequence: Sequence[int]) -> list[float]:
    """Return the log-probabilities of a sequence's tokens but its first from a response with `prompt_logprobs`.

    Raises:
        ServiceError: one is missing.
    """
    try:
        chosen = answer["choices"][0]["prompt_logprobs"][1:]
        return [float(options[str(token)]["logprob"]) for options, token in zip(chosen, sequence[1:], strict=True)]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ServiceError(f"vLLM server: a response without the log-probability of a prompt token ({error}); check its version") from None
