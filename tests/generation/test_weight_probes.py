"""Probes: the trainer's scores equal transformers', and each way an engine can be wrong is told apart."""

import numpy as np
import pytest
import torch

from components.errors import ServiceError
from components.generation.weight_probes import (
    ProbeScores,
    probe_scores,
    probe_sequences,
    refuse_mismatch,
    sequence_logprobs,
)


def test_probes_are_always_the_same_and_fit_the_model():
    probes = probe_sequences(vocabulary=300, context=20)
    assert probes == probe_sequences(vocabulary=300, context=20)
    assert [len(probe) for probe in probes] == [19] * 4  # one token is left for the engine to draw
    assert min(map(min, probes)) >= 0 and max(map(max, probes)) < 300


def test_the_trainers_scores_equal_transformers(tiny_model):
    sequences = [[5, 9, 200, 41], [7, 7], [301, 4, 100]]
    for sequence, actual in zip(sequences, sequence_logprobs(tiny_model, sequences), strict=True):
        with torch.no_grad():
            full = tiny_model(torch.tensor([sequence])).logits[0, :-1].log_softmax(dim=-1)
        expected = full.gather(1, torch.tensor(sequence[1:])[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(actual), expected, rtol=0, atol=1e-5)


def _scores(trainer, engine):
    return ProbeScores(np.asarray(trainer), np.asarray(engine))


def test_agreement_passes_and_one_token_off_does_not():
    refuse_mismatch(_scores([-1.0, -2.0], [-1.0005, -2.0]), None, tolerance=1e-3, version=1)
    with pytest.raises(ServiceError, match=r"version 7 .* off by 0\.002 nats"):
        refuse_mismatch(_scores([-1.0, -2.0], [-1.0, -2.002]), None, tolerance=1e-3, version=7)


def test_a_number_that_is_none_is_a_mismatch():
    with pytest.raises(ServiceError, match="off by nan"):
        refuse_mismatch(_scores([-1.0], [float("nan")]), None, tolerance=1e-3, version=1)


def test_old_weights_within_the_tolerance_are_found_because_nothing_moved():
    before = _scores([-1.0, -2.0], [-1.01, -2.01])
    with pytest.raises(ServiceError, match="still has the old weights"):
        refuse_mismatch(_scores([-1.02, -2.0], [-1.01, -2.01]), before, tolerance=0.25, version=2)
    # the engine moved in one bit: new weights; and where the trainer did not move, the same scores are right
    refuse_mismatch(_scores([-1.02, -2.0], [-1.0101, -2.01]), before, tolerance=0.25, version=2)
    refuse_mismatch(_scores([-1.0, -2.0], [-1.01, -2.01]), before, tolerance=0.25, version=2)


def test_another_number_of_scores_is_refused():
    with pytest.raises(ServiceError, match="another number"):
        probe_scores([[-1.0, -2.0]], [[-1.0]])
