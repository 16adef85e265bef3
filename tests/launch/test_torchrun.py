"""Our torchrun ends with the code of the rank that failed, so that a cluster's failure policy can tell how a stage ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.launch.torchrun import RankFailure, exit_code_of

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


def test_told_to_stop_it_waits_for_its_ranks_and_ends_as_preempted(tmp_path):
    launched = _launch("--shutdown-timeout", "20", "--no-python", "bash", "-c", WAITING.format(ready=tmp_path))
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(60) == 43
    assert "told to stop (SIGTERM)" in launched.communicate()[1].decode()
