"""Several local processes of one stage: how torchrun ended is told as of any backend, and it neither outlives nor doubles a run."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.errors import Preempted, UserError
from components.launch import torchrun_backend
from components.launch.ends import Attempt
from components.launch.launcher import RoutingLauncher, can_train_on_several
from components.launch.torchrun_backend import LOCK, TorchrunBackend
from components.pipeline.graph import load_graph
from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
ATTEMPT = Attempt("ift", "a" * 64)


def backend(root, script, *, grace_seconds=5.0):
    (root / "rank.sh").write_text(script)
    return TorchrunBackend(root, processes=2, log=root / "log.txt", grace_seconds=grace_seconds, program=("--no-python", "sh", "rank.sh"))


def test_a_rank_that_fails_ends_the_attempt_with_its_kind_and_message(tmp_path):
    ending = backend(tmp_path, 'if [ $RANK = 1 ]; then echo "quarkmed: memory was exhausted"; exit 44; fi; sleep 30').run(ATTEMPT)
    assert (ending.kind, ending.attempt) == ("out of memory", ATTEMPT)
    assert ending.message.startswith("memory was exhausted (log: ")


def test_the_command_names_stage_and_smaller_passes(tmp_path):
    command = TorchrunBackend(tmp_path, processes=3, log=tmp_path / "log", grace_seconds=20.0).command(Attempt("sft", "a" * 64, 2, 2))
    assert command[:3] == [sys.executable, "-m", "components.launch.torchrun"]
    assert command[-6:] == ["--module", "flows.cli", "stage", "sft", "--micro-divisor", "2"]
    assert command[command.index("--nproc-per-node") + 1] == "3"


def test_an_earlier_torchrun_that_does_not_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torchrun_backend, "END_SECONDS", 0.0)
    monkeypatch.setattr(torchrun_backend, "ANSWER_SECONDS", 0.0)
    (tmp_path / LOCK).parent.mkdir(parents=True)
    with (tmp_path / LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="the torchrun of an earlier run still works"):
            backend(tmp_path, "exit 0", grace_seconds=0.1).run(ATTEMPT)


def test_only_stages_that_know_the_engine_go_to_torchrun():
    ddp = load_settings(ROOT / "params.yaml", overrides={"engine.strategy": "ddp", "launch.backend": "torchrun"})
    graph = load_graph(ROOT)
    launcher = RoutingLauncher(ROOT, run="r", settings=ddp, log=ROOT / "log.txt")
    assert {name: launcher.backend_name(name) for name in ("curate", "ift", "evaluate")} == {"curate": "local", "ift": "torchrun", "evaluate": "local"}
    single = load_settings(ROOT / "params.yaml", overrides={"launch.backend": "torchrun"})
    assert not can_train_on_several(graph.row("ift"), single)
    assert RoutingLauncher(ROOT, run="r", settings=single, log=ROOT / "log.txt").backend_name("ift") == "local"


@pytest.mark.slow
def test_told_to_stop_it_waits_for_the_ranks_and_raises(tmp_path):
    runner = backend(tmp_path, "trap 'touch saved.$RANK; exit 43' TERM; touch ready.$RANK; while true; do sleep 0.05; done")

    def tell_to_stop(number, frame):
        raise Preempted("told to stop")

    before = signal.signal(signal.SIGUSR1, tell_to_stop)
    threading.Thread(target=lambda: (_wait(lambda: len(list(tmp_path.glob("ready.*"))) == 2), os.kill(os.getpid(), signal.SIGUSR1))).start()
    try:
        with pytest.raises(Preempted, match="what was saved last is kept"):
            runner.run(ATTEMPT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(list(tmp_path.glob("saved.*"))) == 2


@pytest.mark.slow
def test_it_dies_with_a_killed_run_and_saves_first(tmp_path):
    (tmp_path / "rank.sh").write_text("trap 'touch saved.$RANK; exit 43' TERM; touch ready.$RANK; while true; do sleep 0.05; done")
    code = (
        "from pathlib import Path\nfrom components.launch.ends import Attempt\nfrom components.launch.torchrun_backend import TorchrunBackend\n"
        f"root = Path({str(tmp_path)!r})\n"
        "TorchrunBackend(root, processes=2, log=root / 'log.txt', grace_seconds=5.0, program=('--no-python', 'sh', 'rank.sh')).run(Attempt('ift', 'a' * 64))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    _wait(lambda: len(list(tmp_path.glob("ready.*"))) == 2)
    left = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait()
    assert psutil.wait_procs(left, timeout=30)[1] == []
    assert len(list(tmp_path.glob("saved.*"))) == 2


def _wait(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
