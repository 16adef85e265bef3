"""Our torchrun ends with the code of the rank that failed, so that a cluster's failure policy can tell how a stage ended."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.launch.kubernetes_job import TrainingJob, training_command
from components.launch.torchrun import RankFailure, describe_failures, exit_code_of
from components.settings.cluster import TrainerPodSettings

ROOT = Path(__file__).parents[2]
WAITING = "trap 'exit 43' TERM; touch {ready}/$RANK; while true; do sleep 0.05; done"


def _launch(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "components.launch.torchrun", "--nproc-per-node", "2", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([RankFailure(0, 100, 1)], 1),
        ([RankFailure(0, 101, 44), RankFailure(1, 100, 45)], 45),  # the earlier
        ([RankFailure(0, 100, 1), RankFailure(1, 101, 44)], 44),  # rank 0 lost its peer; why stands in rank 1's code
        ([RankFailure(1, 100, 44), RankFailure(0, 100, 43)], 43),  # the same second: the lower rank
        ([RankFailure(0, 100, -9)], 137),  # killed by SIGKILL: 128 + 9
    ],
)
def test_the_code_is_the_one_that_says_why(failures, code):
    assert exit_code_of(failures) == code


def test_a_rank_out_of_memory_ends_torchrun_with_its_code():
    launched = _launch("--no-python", "sh", "-c", "if [ $RANK = 1 ]; then exit 44; fi; sleep 30")
    assert (launched.wait(60), "44" in launched.communicate()[1].decode()) == (44, True)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_two_pods_of_a_job_meet_and_the_one_out_of_memory_says_so(tmp_path):
    pod = TrainerPodSettings(image="t:1", cpus=2, memory_gibibytes=4)
    job = TrainingJob(namespace="n", stage="sft", stage_key="0123456789abcdef", attempt=1, nodes=2, grace_seconds=20.0, pod=pod)
    command, port = training_command(job), _free_port()
    command[0] = sys.executable
    command[command.index("--master-addr") + 1] = "127.0.0.1"
    command[command.index("--master-port") + 1] = str(port)
    work = ["--no-python", "sh", "-c", f"echo $WORLD_SIZE > {tmp_path}/$RANK; if [ $RANK = 1 ]; then exit 44; fi; exec sleep 30"]
    command[command.index("--module") :] = work
    pods = [subprocess.Popen([part.replace("$(JOB_COMPLETION_INDEX)", str(index)) for part in command], cwd=ROOT, stderr=subprocess.DEVNULL) for index in (0, 1)]
    try:
        assert pods[1].wait(60) == 44
        _wait_for(lambda: (tmp_path / "0").exists())
        pods[0].send_signal(signal.SIGTERM)  # as the job's controller does, once a pod has failed
        assert pods[0].wait(60) == 43
    finally:
        for left in pods:
            left.kill()
    assert {path.name: path.read_text().strip() for path in tmp_path.iterdir()} == {"0": "2", "1": "2"}


def test_told_to_stop_it_waits_for_its_ranks_and_ends_as_preempted(tmp_path):
    launched = _launch("--shutdown-timeout", "20", "--no-python", "bash", "-c", WAITING.format(ready=tmp_path))
    _wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(60) == 43
    assert "told to stop (SIGTERM)" in launched.communicate()[1].decode()


def test_what_it_says_of_many_ranks_leaves_room_for_their_own_words():
    failures = [RankFailure(rank, 100 + rank, 43) for rank in range(72)] + [RankFailure(72, 99, 45)]
    said = describe_failures(failures)
    assert said.startswith("torchrun: ranks of this node that failed, each with its exit code: 0 with 43, 1 with 43") and len(said) <= 500
    assert describe_failures(failures[-2:]).endswith("71 with 43, 72 with 45; this process ends with 45")
