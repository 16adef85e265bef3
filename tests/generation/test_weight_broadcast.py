"""Weights by broadcast, over real process groups between threads: a worker's model ends with the trainer's weights, or it is said."""

import copy
import threading
from time import monotonic
from types import SimpleNamespace

import pytest
import torch

from components.errors import ServiceError
from components.generation.vllm_worker import WorkerExtension
from components.generation.weight_broadcast import WeightBroadcast

SECONDS = 20.0


class Worker(WorkerExtension):
    """A worker whose model is torch's: `reload_weights` takes the tensors as vLLM's does."""

    def __init__(self, model, rank):
        self.model, self.rank = copy.deepcopy(model), rank
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.zero_()
        self.model_runner = SimpleNamespace(get_model=lambda: self.model)

    def reload_weights(self, *, weights_iterator):
        self.model.load_state_dict(dict(weights_iterator))


class Workers:
    """An engine's workers, each in a thread of its own; `fault` is raised in place of a call of that name."""

    def __init__(self, model, *, count, fault=None, absent=None):
        self.workers = [Worker(model, rank) for rank in range(count)]
        self.fault, self.absent, self.calls = fault, absent, []

    def call_workers(self, method, arguments):
        self.calls.append(method)
        if method == self.fault:
            raise ServiceError(f"vLLM: {method} failed")
        if method == self.absent:
            return
        failures = []

        def run(worker):
            try:
                getattr(worker, method)(**arguments)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(worker,)) for worker in self.workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


def _broadcast(*, workers, seconds=SECONDS, dtype=torch.float32):
    return WeightBroadcast(dtype=dtype, workers=workers, address="127.0.0.1", seconds=seconds)


def _equal(worker, model):
    return all(torch.equal(value, model.state_dict()[name]) for name, value in worker.model.state_dict().items())


@pytest.mark.parametrize("count", [1, 2])
def test_every_worker_ends_with_the_trainers_weights_each_time(tiny_model, count):
    engine, broadcast = Workers(tiny_model, count=count), _broadcast(workers=count)
    broadcast.hand_over(tiny_model, version=0, engine=engine)
    assert all(_equal(worker, tiny_model) for worker in engine.workers)
    with torch.no_grad():
        tiny_model.model.embed_tokens.weight.add_(1.0)
    assert not _equal(engine.workers[0], tiny_model)
    broadcast.hand_over(tiny_model, version=1, engine=engine)
    assert all(_equal(worker, tiny_model) for worker in engine.workers)
    assert engine.calls == ["join_weight_group", "receive_weights", "receive_weights"]  # the group is made once


def test_weights_travel_in_the_engines_dtype(tiny_model):
    engine = Workers(tiny_model.bfloat16(), count=1)
    tiny_model.float()
    _broadcast(workers=1, dtype=torch.bfloat16).hand_over(tiny_model, version=0, engine=engine)
    received = engine.workers[0].model.lm_head.weight
    assert received.dtype == torch.bfloat16 and torch.equal(received, tiny_model.lm_head.weight.bfloat16())


@pytest.mark.parametrize("absent", ["join_weight_group", "receive_weights"])
def test_a_worker_that_never_comes_is_an_error_within_the_time_limit(tiny_model, absent):
    start = monotonic()
    with pytest.raises(ServiceError, match=r"vllm\.address"):
        _broadcast(workers=1, seconds=1.0).hand_over(tiny_model, version=0, engine=Workers(tiny_model, count=1, absent=absent))
    assert monotonic() - start < 10


def test_after_a_failure_the_next_hand_over_makes_a_new_group(tiny_model):
    engine, broadcast = Workers(tiny_model, count=1, fault="receive_weights"), _broadcast(workers=1, seconds=2.0)
    with pytest.raises(ServiceError, match="receive_weights failed"):
        broadcast.hand_over(tiny_model, version=0, engine=engine)
    engine.fault = None
    broadcast.hand_over(tiny_model, version=0, engine=engine)
    assert _equal(engine.workers[0], tiny_model)
    assert engine.calls == ["join_weight_group", "receive_weights"] * 2
