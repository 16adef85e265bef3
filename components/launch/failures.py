"""How a failure crosses from one process to another: its class of components/errors.py and its message.

Errors raised on purpose travel as their message alone; anything unexpected leaves its traceback in the log.
"""

import errno
import sys
import traceback
from typing import Any

from components import errors
from components.errors import OutOfMemory, QuarkmedError, StorageError


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return {"error": class name, "message": text} of any exception, the unexpected ones written to stderr (the log)."""
    known = classify_failure(error)
    if known is not error:
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    return {"error": type(known).__name__, "message": str(known)}


def classify_failure(error: BaseException) -> QuarkmedError:
    """Return the error itself where it is one of ours, else the nearest class of the tree."""
    if isinstance(error, QuarkmedError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory(f"memory was exhausted ({error}); lower micro_tokens of this stage in params.yaml")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(f"{error.filename or 'a file'}: cannot be written ({error.strerror}); free the disk, then run again")
    return QuarkmedError(f"{type(error).__name__}: {error}")


def rebuild_failure(description: dict[str, Any], *, log: str) -> QuarkmedError:
    """Return the exception an answer describes; an unexpected one names the log that holds its traceback."""
    kind: Any = getattr(errors, str(description["error"]), QuarkmedError)
    message = str(description["message"])
    return QuarkmedError(f"{message} (traceback in {log})") if kind is QuarkmedError else kind(message)
