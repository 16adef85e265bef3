"""Every generator's state goes through JSON and back."""

import json
import random

import numpy
import pytest
import torch

from components.errors import StorageError
from components.storage.random_states import random_states, restore_random_states


def _draw():
    return random.random(), random.gauss(0, 1), numpy.random.normal(size=3).tolist(), torch.rand(4).tolist()


def test_all_generators_go_on_where_they_were():
    random.gauss(0, 1), numpy.random.normal()  # both keep a second number back, which belongs to the state
    kept = json.dumps(random_states())
    expected = _draw()
    for _ in range(3):
        _draw()
    restore_random_states(json.loads(kept))
    assert _draw() == expected


def test_a_missing_generator_is_refused():
    states = random_states()
    del states["numpy"]
    with pytest.raises(StorageError, match="no state of the random generators numpy"):
        restore_random_states(states)


def test_another_number_of_devices_is_refused():
    states = random_states() | {"torch_cuda": ["AA=="] * (torch.cuda.device_count() + 1)}
    with pytest.raises(StorageError, match="CUDA devices"):
        restore_random_states(states)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_devices_generator_goes_on_where_it_was():
    states = random_states()
    expected = torch.rand(4, device="cuda").tolist()
    restore_random_states(json.loads(json.dumps(states)))
    assert torch.rand(4, device="cuda").tolist() == expected
