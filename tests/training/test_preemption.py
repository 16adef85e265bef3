"""Told to stop: the step at work is finished and saved, and the run goes on later to the same bits. Real signals."""

import os
import signal
import time

import pytest
import torch

from components.errors import EXIT_PREEMPTED, Preempted, StorageError
from components.launch.local_process import LocalProcess
from components.storage.checkpoints import CheckpointFolder
from components.training.preemption import orderly_steps, stop_here_if_asked, stop_signals

WORK = '''
import json, time
from pathlib import Path
import torch
from components.lineage import digest_value
from components.modeling.models import create_model
from components.modeling.tokenizers import train_tokenizer
from components.recorder import Recorder, read_record, without_timings
from components.settings.training import ModelSettings, OptimiserSettings, SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.policy.state import weights_digest
from components.training.supervised.tuning import pretrain

TEXTS = ["Asthma causes wheeze.", "Pneumonia causes fever.", "Gout causes pain of the big toe."] * 4

class SlowRecorder(Recorder):
    seconds = 0.0
    def metrics(self, values, *, step):
        super().metrics(values, step=step)
        time.sleep(self.seconds)

def train(folder, seconds, every):
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(TEXTS, vocabulary=512)
    shape = ModelSettings(vocabulary=512, hidden=16, layers=1, heads=2, key_value_heads=1, head_dimension=8, intermediate=24, context=64)
    model = create_model(shape, tokenizer=tokenizer, seed=1)
    settings = SupervisedSettings(optimiser=OptimiserSettings(learning_rate=3e-3), steps=12, batch_samples=4, checkpoint_every=every, precision="float32")
    recorder = SlowRecorder(Path(folder) / "record")
    recorder.seconds = seconds
    pretrain(model, tokenizer, TEXTS, settings=settings, seed=3, recorder=recorder, checkpoints=CheckpointFolder(Path(folder) / "checkpoints", key="k"))
    losses = [[entry["step"], dict.fromkeys(entry["values"]) | without_timings(entry["values"])] for entry in read_record(recorder.folder) if entry["kind"] == "metrics"]
    return weights_digest(model), digest_value(losses)
'''


def _wait_for(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def _steps_recorded(folder):
    path = folder / "record" / "record.jsonl"
    return path.read_text().count('"metrics"') if path.exists() else 0


def test_a_worker_told_to_stop_saves_its_step_and_exits_43_and_the_next_goes_on_to_the_same_bits(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    worker = LocalProcess(tmp_path, log=tmp_path / "log.txt", grace_seconds=60)
    number = worker.submit("work:train", folder=str(tmp_path / "cut"), seconds=0.05, every=100)  # no checkpoint of its own in time
    _wait_for(lambda: _steps_recorded(tmp_path / "cut") >= 4)
    process = worker._process
    os.kill(worker.pid, signal.SIGTERM)
    with pytest.raises(Preempted, match=r"told to stop: saved after step \d+ of 12; run the same command again") as stopped:
        worker.result(number)
    assert process.wait(10) == EXIT_PREEMPTED
    step = int(str(stopped.value).split("after step ")[1].split()[0])
    assert 4 <= step < 12
    assert CheckpointFolder(tmp_path / "cut" / "checkpoints", key="k").newest_step() == step
    try:
        resumed = worker.call("work:train", folder=str(tmp_path / "cut"), seconds=0.0, every=100)  # in a new process
        assert resumed == worker.call("work:train", folder=str(tmp_path / "whole"), seconds=0.0, every=100)
    finally:
        worker.close()
    assert "Traceback" not in worker.log.read_text()


def test_a_step_longer_than_the_grace_is_left(tmp_path):
    with stop_signals(grace_seconds=0.1), pytest.raises(Preempted, match=r"more than the grace of 0\.1 s"), orderly_steps(None):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def test_a_second_signal_stops_at_once(tmp_path):
    with stop_signals(grace_seconds=20), pytest.raises(Preempted, match="what was saved last is kept"), orderly_steps(None):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def test_where_no_loop_is_at_work_the_signal_stops_at_once():
    with stop_signals(signal.SIGTERM, signal.SIGINT, grace_seconds=20) as heard, pytest.raises(Preempted):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    assert heard.is_asked


def test_after_the_block_signals_do_what_they_did_and_nothing_is_asked():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals(grace_seconds=20), orderly_steps(None):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    stop_here_if_asked(pytest.fail, checkpoints=None, done=1, total=2)


def test_after_the_last_step_the_work_is_ended_not_stopped():
    with stop_signals(grace_seconds=20), orderly_steps(None):
        os.kill(os.getpid(), signal.SIGTERM)
        stop_here_if_asked(pytest.fail, checkpoints=None, done=2, total=2)


def test_a_state_that_cannot_be_saved_is_no_orderly_stop(tmp_path):
    checkpoints = CheckpointFolder(tmp_path / "file", key="k")
    (tmp_path / "file").write_text("in the way")
    with stop_signals(grace_seconds=20), pytest.raises((StorageError, OSError)), orderly_steps(checkpoints):
        os.kill(os.getpid(), signal.SIGTERM)
        save = lambda: checkpoints.save_later(1, tensors={"w": torch.zeros(1)}, state={})  # noqa: E731
        stop_here_if_asked(save, checkpoints=checkpoints, done=1, total=2)
