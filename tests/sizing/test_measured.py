"""The comparison with a recorded run, on a record whose figures are known."""

import pytest

from components.errors import DataError
from components.recorder import Recorder
from components.sizing.measured import compare, read_counts
from components.sizing.shape import DecoderShape

SHAPE = DecoderShape(layers=1, hidden=2, heads=1, key_value_heads=1, head_size=2, intermediate=4, vocabulary=8)
STEP = {
    "seconds_generate": 1.0, "seconds_reference": 2.0, "seconds_policy": 5.0, "sampled_tokens": 8.0, "sampled_groups": 2.0, "answer_tokens_mean": 2.0,
    "live_groups": 1.0, "update_tokens": 4.0, "packed_tokens": 8.0,
}  # fmt: skip


def test_a_run_is_compared_with_what_its_own_tokens_cost(tmp_path):
    recorder = Recorder(tmp_path)
    for step in range(2):
        recorder.metrics(STEP, step=step)
    counts = read_counts(tmp_path)
    # 4 answers of 2 tokens in 2 groups a step; the live group: a prompt of 8 − 4 = 4 tokens and two answers
    assert (counts.steps, counts.answers, counts.prompt_tokens, counts.answer_tokens) == (2, 8.0, 4.0, 2.0)
    rows = {row.what: row for row in compare(SHAPE, counts, flops=1000.0, bandwidth=1e12)}
    # matrices 40, 8 of them for keys and values, the others where 4 of 8 tokens are read; head 16; pairs a live group 4²/2 + 2(2 · 4 + 2²/2) = 28
    forward = 2 * (2 * 8 * 8 + 2 * 32 * 4 + 2 * 16 * 4 + 4 * 2 * 28)
    update = 3 * forward + 2 * (2 * 16 * 4)
    assert rows["reference, forward (s)"].predicted == pytest.approx(forward / 1000)
    assert rows["reference, forward (s)"].ratio == pytest.approx(forward / 1000 / 4.0)
    assert rows["policy, forward and backward (s)"].predicted == pytest.approx(update / 1000)
    assert rows["policy over reference"].predicted == pytest.approx(update / forward)
    assert rows["policy over reference"].measured == 2.5
    # sampling: 16 tokens through body and head, context 4 + 2/2 = 5, and 4 prompts of 4 tokens prefilled, the last of each read, 8 pairs each
    assert rows["sampling (s)"].predicted == pytest.approx((16 * (2 * 40 + 2 * 16 + 4 * 2 * 5) + 2 * 8 * 16 + 2 * 32 * 4 + 4 * 2 * 32) / 1000)


def test_a_step_recorded_twice_counts_once(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.metrics(STEP, step=0)
    recorder.metrics(STEP, step=0)
    assert read_counts(tmp_path).steps == 1


def test_without_a_reference_its_rows_are_left_out(tmp_path):
    Recorder(tmp_path).metrics(STEP | {"seconds_reference": 0.0}, step=0)
    assert [row.what for row in compare(SHAPE, read_counts(tmp_path), flops=1.0, bandwidth=1.0)] == ["policy, forward and backward (s)", "sampling (s)"]


def test_another_record_is_refused(tmp_path):
    Recorder(tmp_path).metrics({"loss": 1.0}, step=0)
    with pytest.raises(DataError, match="no record of a GRPO run"):
        read_counts(tmp_path)
