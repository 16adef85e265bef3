"""Processes that train are started with large pages, also those a person starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.launch.local_process import LocalProcess
from components.launch.stage_environment import LARGE_PAGES, STAGE_ENVIRONMENT, TUNABLES, stage_environment

ROOT = Path(__file__).resolve().parents[2]
SAY = """
import json, os, sys
from components.launch.stage_environment import start_again_with_large_pages, was_started_for
was_started_for(sys.argv[1:]) and start_again_with_large_pages()
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), os.getpid(), sys.argv]))
"""
FAULTS = """
import ctypes, resource
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes, library.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    block = library.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    library.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _say(*arguments: str, tunables: str | None) -> tuple[list, int]:
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES} | ({TUNABLES: tunables} if tunables else {})
    process = subprocess.Popen([sys.executable, "-c", SAY, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(process.communicate()[0]), process.pid


def test_a_process_that_a_person_starts_begins_again_once_as_the_same_process_with_the_same_arguments():
    (tunables, pid, arguments), started = _say("stage", "a b", tunables=None)
    assert (tunables, pid, arguments) == (LARGE_PAGES, started, ["-c", "stage", "a b"])


def test_a_value_of_the_persons_own_stays():
    assert _say(tunables="glibc.malloc.check=0")[0][0] == "glibc.malloc.check=0"


def test_a_process_that_was_started_for_something_else_is_left_as_it_is():
    """As a test that calls a command in its own process, or a server that forks one."""
    code = f"import sys; sys.argv = ['quarkmed', 'stage', 'ift']; {SAY.strip().replace(chr(10), '; ')}"
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES}
    done = subprocess.run([sys.executable, "-c", code, "other"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0] is None


def test_memory_that_is_freed_is_there_for_the_next_step():
    """64 MiB are 16,384 pages of 4 KiB: without the tunables each of the four turns faults in as many."""
    plain, large = (
        int(subprocess.run([sys.executable, "-c", FAULTS], env={name: value for name, value in os.environ.items() if name != TUNABLES} | extra, capture_output=True, text=True, check=True).stdout)
        for extra in ({}, STAGE_ENVIRONMENT)
    )
    assert plain > 4 * 16_000 and large < 1_000


@pytest.mark.parametrize(("own", "seen"), [(None, LARGE_PAGES), ("glibc.malloc.check=0", "glibc.malloc.check=0")])
def test_the_warm_process_sees_it_or_what_the_person_set(tmp_path, monkeypatch, own, seen):
    monkeypatch.delenv(TUNABLES, raising=False)
    if own:
        monkeypatch.setenv(TUNABLES, own)
    (tmp_path / "work.py").write_text("import os\ndef variable(name): return os.environ.get(name)\n")
    process = LocalProcess(tmp_path, log=tmp_path / "log.txt", environment=stage_environment())
    assert process.call("work:variable", name=TUNABLES) == seen
    process.close()
