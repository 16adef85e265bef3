"""The variables that a process which trains is started with, wherever it runs.

Large pages: torch asks the C library for every tensor's memory. glibc gives blocks above 32 MiB back to the kernel when
they are freed, and all of it in pages of 4 KiB, so a step waits for its memory to be made again and for the addresses of
many small pages, the more in a virtual machine. With `LARGE_PAGES` freed memory is kept for the next step and asked for in
pages of 2 MiB, where the kernel allows that on request (`/sys/kernel/mm/transparent_hugepage/enabled`: madvise or always).
Measured on two cores of a virtual machine whose neighbours were busy, supervised tuning of 2.8 million parameters in float32,
four runs in turn with as many without: 600,000 page faults became 77,000, an epoch took 0.71 to 0.93 of the time (the slower
the machine just was, the less), the process held 8 % more. glibc reads the variable when a process starts; another C library,
and a glibc before 2.35, ignore it. No result depends on it.
"""

import os
import sys

TUNABLES = "GLIBC_TUNABLES"
LARGE_PAGES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864"
STAGE_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", TUNABLES: LARGE_PAGES}


def stage_environment() -> dict[str, str]:
    """Return the variables for a process on this machine: `STAGE_ENVIRONMENT`, but for a person's own tunables, which stay."""
    return {**STAGE_ENVIRONMENT, TUNABLES: os.environ.get(TUNABLES, LARGE_PAGES)}


def start_again_with_large_pages() -> None:
    """Replace this process by the same command with large pages, once; a value of the person's own is left as it is.

    To be called first, before anything is opened or imported that would be paid for twice, in a process that was started for
    its command (`was_started_for`).
    """
    if TUNABLES in os.environ or not sys.platform.startswith("linux"):
        return
    os.environ[TUNABLES] = LARGE_PAGES
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def was_started_for(words: list[str]) -> bool:
    """Say whether this process was started to run the command of these words, and not for something that calls it."""
    return sys.orig_argv[len(sys.orig_argv) - len(words) :] == words
