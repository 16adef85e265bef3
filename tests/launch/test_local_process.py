"""The warm process: values and failures cross, and it never outlives its parent."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.errors import DataError, OutOfMemory, Preempted, QuarkmedError, StorageError
from components.launch.failures import classify_failure
from components.launch.local_process import LocalProcess, WorkerDied
from components.launch.stage_launcher import StageLauncher

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import os, signal, time
from components.errors import DataError
def add(a, b): return a + b
def refuse(): raise DataError("x.jsonl:3: bad line; mend it")
def crash(): raise ZeroDivisionError("oops")
def pid(): return os.getpid()
def die(): os.kill(os.getpid(), signal.SIGKILL)
def die_once(mark):
    if not os.path.exists(mark):
        open(mark, "w").close()
        die()
    return "went on"
def wait(seconds):
    open("waits", "w").close()
    time.sleep(seconds)
def torch_threads():
    import sys
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
def say(text): print(text)
"""


@pytest.fixture
def process(tmp_path: Path):
    (tmp_path / "work.py").write_text(WORK)
    process = LocalProcess(tmp_path, log=tmp_path / "log.txt")
    yield process
    process.close()


def test_one_process_answers_many_requests(process):
    assert process.call("work:add", a=2, b=3) == 5
    first = process.submit("work:pid")
    second = process.submit("work:pid")
    assert process.result(second) == process.result(first) == process.pid


def test_failures_cross_with_their_class_and_without_a_traceback(process):
    with pytest.raises(DataError, match=r"^x\.jsonl:3: bad line; mend it$"):
        process.call("work:refuse")
    assert "Traceback" not in process.log.read_text()
    with pytest.raises(QuarkmedError, match=r"ZeroDivisionError: oops \(traceback in .*log\.txt\)"):
        process.call("work:crash")
    assert "Traceback" in process.log.read_text()


def test_what_a_stage_prints_goes_to_the_log_not_into_the_answers(process):
    assert process.call("work:say", text="{not an answer}") is None
    assert "{not an answer}" in process.log.read_text()


def test_a_killed_process_is_named_as_such_and_replaced(process):
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        process.call("work:die")
    assert process.call("work:add", a=1, b=1) == 2


def wait_until_at_work(process: LocalProcess) -> None:
    deadline = time.monotonic() + 30
    while not (process.root / "waits").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_preempts(process):
    number = process.submit("work:wait", seconds=60)
    wait_until_at_work(process)
    psutil.Process(process.pid).send_signal(signal.SIGTERM)
    with pytest.raises(Preempted):
        process.result(number)


def test_close_ends_a_busy_process_quickly(process):
    process.submit("work:wait", seconds=60)
    wait_until_at_work(process)
    pid, started = process.pid, time.monotonic()
    process.close()
    assert not psutil.pid_exists(pid) and time.monotonic() - started < 10


def test_the_process_dies_with_a_killed_parent(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    code = (
        "from pathlib import Path; import time\n"
        "from components.launch.local_process import LocalProcess\n"
        f"process = LocalProcess(Path({str(tmp_path)!r}), log=Path({str(tmp_path / 'log.txt')!r}))\n"
        "process.submit('work:wait', seconds=60); print(process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=10)
    assert not worker.is_running()


@pytest.fixture
def launcher(tmp_path: Path):
    (tmp_path / "work.py").write_text(WORK)
    launcher = StageLauncher(tmp_path, threads=3, log=tmp_path / "log.txt", preload=())
    yield launcher
    launcher.close()


def test_a_stages_process_has_torch_with_the_threads_asked_for(launcher):
    assert launcher.function_call("work:torch_threads") == 3


def test_a_stage_goes_on_once_in_a_new_process(launcher, monkeypatch):
    submit = LocalProcess.submit  # each start without torch, whose import takes seconds
    monkeypatch.setattr(LocalProcess, "submit", lambda self, function, **given: submit(self, "work:pid") if function.endswith(":prepare_torch") else submit(self, function, **given))
    assert launcher.function_call("work:die_once", mark=str(launcher.root / "mark")) == "went on"
    first = launcher.pid
    assert launcher.function_call("work:pid") == first
    (launcher.root / "components").mkdir()
    (launcher.root / "components" / "changed.py").write_text("x = 1")
    launcher.function_call("work:add", a=1, b=1)
    assert launcher.pid != first  # the code changed, so the warm process is not trusted with it


def test_foreign_failures_find_their_class():
    full = classify_failure(OSError(28, "No space left on device", "f"))
    assert isinstance(full, StorageError) and str(full).startswith("f: cannot be written (No space left on device); free the disk")
    # Libraries with errors of their own: safetensors, SQLite.
    assert isinstance(classify_failure(RuntimeError("I/O error: No space left on device (os error 28)")), StorageError)
    assert isinstance(classify_failure(RuntimeError("(sqlite3.OperationalError) database or disk is full")), StorageError)
    assert isinstance(classify_failure(MemoryError("large")), OutOfMemory)
    assert type(classify_failure(ValueError("x"))) is QuarkmedError
    error = DataError("as it is")
    assert classify_failure(error) is error
