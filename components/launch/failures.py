"""How a failure crosses from one process to another: its class of components/errors.py and its message.

Errors raised on purpose travel as their message alone; anything unexpected leaves its traceback in the log.
"""

import contextlib
import errno
import sys
import traceback
from typing import Any

from components import errors
from components.errors import OutOfMemory, QuarkmedError, StorageError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# safetensors, shutil.copytree and Prefect pass the system's words on; SQLite has its own.
NO_ROOM_WORDS = ("No space left on device", "os error 28", "Disk quota exceeded", "File too large", "os error 27", "database or disk is full")


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return {"error": class name, "message": text} of any exception, the unexpected ones written to stderr (the log)."""
    known = classify_failure(error)
    if known is not error:
        with contextlib.suppress(OSError):  # the log's own disk may be the full one
            traceback.print_exception(error, file=sys.stderr)
            sys.stderr.flush()
    return {"error": type(known).__name__, "message": str(known)}


def classify_failure(error: BaseException) -> QuarkmedError:
    """Return the error itself where it is one of ours, else the nearest class of the tree."""
    if isinstance(error, QuarkmedError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory(f"memory was exhausted ({error}); lower micro_tokens of this stage in params.yaml")
    if _is_full_disk(error):
        where = error.filename if isinstance(error, OSError) and error.filename else "a file"
        return StorageError(
            f"{where}: cannot be written ({_first_line(error)}); free the disk, then run again: it goes on from what was finished"
        )
    return QuarkmedError(f"{type(error).__name__}: {error}")


def _is_full_disk(error: BaseException) -> bool:
    """Say whether a write was refused for want of room: told by its number, or, from libraries with errors of their own, by its words."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(words in str(error) for words in NO_ROOM_WORDS)


def _first_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0]


def rebuild_failure(description: dict[str, Any], *, log: str) -> QuarkmedError:
    """Return the exception an answer describes; an unexpected one names the log that holds its traceback."""
    kind: Any = getattr(errors, str(description["error"]), QuarkmedError)
    message = str(description["message"])
    return QuarkmedError(f"{message} (traceback in {log})") if kind is QuarkmedError else kind(message)
