"""Reward functions of one's own: loaded from `file.py:function`, called with keyword lists, and held to their word.

    def score(completions, answer, **columns) -> list[float | None]

`completions` holds the texts of the answers, every other argument one value an answer: the columns of its prompt's line
(`None` where the line has no such key), "id", "task", and `prompts`, the conversations as role-content dictionaries. A
function without `**` is handed only what its signature names. A result of another length or type is refused: a single
number would be spread over all answers in silence. Where a call raises, the answers are asked about one by one, and
those that raise again are unscored (None): left out of the loss and counted, never scored 0.
"""

import contextlib
import importlib.util
import inspect
import math
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import FrameType
from typing import Any

from components.errors import DataError, SettingsError
from components.settings.recipes import RewardSource

Columns = Mapping[str, Sequence[Any]]


class _TooLate(BaseException):
    """No `Exception`, so that a function's own `except Exception: return 0` cannot make a score of it."""


@dataclass
class UserReward:
    """One loaded reward function; `failures` counts the answers on which it raised, `first_failure` says how."""

    name: str
    source: RewardSource
    function: Callable[..., Any]
    arguments: frozenset[str] | None  # names it takes besides completions; None: any
    failures: int = 0
    calls: int = 0
    first_failure: str = field(default="")

    def score(self, completions: Sequence[str], columns: Columns) -> list[float | None]:
        """Return a number or None for each answer.

        Raises:
            DataError: the function returned the wrong length or type, or raised on every answer of the call.
        """
        self.calls += 1
        given = {name: list(values) for name, values in columns.items() if self.arguments is None or name in self.arguments}
        try:
            with _time_limit(self.source.timeout_seconds):
                values = self.function(completions=list(completions), **given)
        except Exception as error:
            self._note(error)
            return self._one_by_one(completions, given)
        return self._checked(values, len(completions))

    def _one_by_one(self, completions: Sequence[str], given: dict[str, list[Any]]) -> list[float | None]:
        scores: list[float | None] = []
        failed = 0
        for index, completion in enumerate(completions):
            try:
                with _time_limit(self.source.timeout_seconds):
                    values = self.function(completions=[completion], **{name: [column[index]] for name, column in given.items()})
            except Exception:
                failed += 1
                scores.append(None)
            else:
                scores += self._checked(values, 1)
        self.failures += failed
        if failed == len(completions):
            raise DataError(f"{self.source.function}: raised on all {failed} answers of call {self.calls}: {self.first_failure}; mend the function")
        return scores

    def _note(self, error: Exception) -> None:
        if not self.first_failure:
            own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.source.file]
            where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
            self.first_failure = f"{where}{type(error).__name__}: {error}"

    def _checked(self, values: Any, expected: int) -> list[float | None]:
        where = self.source.function
        if not isinstance(values, list | tuple):
            raise DataError(f"{where}: returned {_kind(values)}; return a list with one number or None for each of the {expected} completions")
        if len(values) != expected:
            raise DataError(f"{where}: returned {len(values)} values for {expected} completions; return exactly one for each, in their order")
        return [self._number(value, index) for index, value in enumerate(values)]

    def _number(self, value: Any, index: int) -> float | None:
        if value is None:
            return None
        if not isinstance(value, Real):
            raise DataError(f"{self.source.function}: value {index} is {_kind(value)}; each value must be a number or None")
        return float(value) if math.isfinite(value) else None


def load_reward(source: RewardSource, *, columns: frozenset[str]) -> UserReward:
    """Import a reward function and check that the data has the columns it asks for.

    Args:
        columns: names that some line of the data carries, with "id", "task" and "prompts".
    Raises:
        SettingsError: no such file or function, the file cannot be imported, or an argument that no column fills.
    """
    path, name = Path(source.file), source.function.rpartition(":")[2]
    if not path.is_file():
        raise SettingsError(f"reward: {path}: no such file; write `reward: file.py:function`, relative to the recipe's folder")
    function = getattr(_import(path), name, None)
    if not callable(function):
        raise SettingsError(f"reward: {path}: has no function {name!r}; define it, or name another after the colon")
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {key: value for key, value in parameters.items() if value.kind not in (value.VAR_KEYWORD, value.VAR_POSITIONAL)}
    if "completions" not in named and not takes_any:
        raise SettingsError(f"reward: {source.function}: takes no `completions`; define it as {name}(completions, **columns)")
    missing = [key for key, value in named.items() if key not in columns | {"completions"} and value.default is value.empty]
    if missing:
        raise SettingsError(f"reward: {source.function}: asks for {', '.join(missing)}, which no line of the data holds; columns: {', '.join(sorted(columns))}")
    arguments = None if takes_any else frozenset(named) - {"completions"}
    return UserReward(source.label, source, function, arguments)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so many seconds of the block; 0: never. Works in the main thread, where recipes run.

    A call into compiled code that never comes back to Python is not stopped.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooLate

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLate as late:
        raise TimeoutError(f"took longer than timeout_seconds ({seconds:g})").with_traceback(late.__traceback__) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _import(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"quarkmed_reward_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"reward: {path}: is not a Python file; name one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise SettingsError(f"reward: {path}:{error.lineno}: not valid Python ({error.msg}); mend the file") from None
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f":{frames[-1].lineno}" if frames else ""
        raise SettingsError(f"reward: {path}{line}: cannot be imported ({type(error).__name__}: {error}); mend the file") from error
    return module


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:60] if isinstance(value, str | Real) else type(value).__name__
