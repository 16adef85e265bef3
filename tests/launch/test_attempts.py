"""What is done about each kind of end, on a backend that ends as it is told."""

import pytest

from components.errors import DataError, Diverged, InfrastructureError, OutOfMemory, Preempted, QuarkmedError
from components.launch.attempts import run_attempts, wait_seconds
from components.launch.ends import Attempt, Ending, kind_of_error, kind_of_exit, said_by
from components.pipeline.running import StageRun
from components.settings.launching import LaunchSettings, RetrySettings

DONE = StageRun("sft", "k", "f", 1.0, False)
RETRY = RetrySettings(preemptions=3, infrastructure=2, first_wait_seconds=10, longest_wait_seconds=15)


class ScriptedBackend:
    """Ends one attempt after another as told, then well."""

    def __init__(self, *kinds):
        self.kinds, self.attempts = list(kinds), []

    def run(self, attempt):
        self.attempts.append((attempt.number, attempt.micro_divisor))
        return Ending(self.kinds.pop(0), attempt, "why") if self.kinds else Ending("done", attempt, run=DONE)


def run(backend, *, may_start=lambda: None):
    told, waits = [], []
    done = run_attempts(backend, Attempt("sft", "k"), retry=RETRY, may_start=may_start, tell=told.append, sleep=waits.append)
    assert done is DONE
    return told, waits


def test_preempted_goes_on_at_once_and_infrastructure_after_waits_that_grow():
    backend = ScriptedBackend("infrastructure", "preempted", "infrastructure")
    told, waits = run(backend)
    assert backend.attempts == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert waits == [10.0, 0.0, 15.0]  # 10, then 20 cut to the longest
    assert told[0] == "sft: attempt 1 ended (infrastructure: why); attempt 2 goes on from the last checkpoint in 10 s"


def test_smaller_passes_stay_for_the_attempts_that_follow():
    backend = ScriptedBackend("out of memory", "preempted")
    run(backend)
    assert backend.attempts == [(1, 1), (2, 2), (3, 2)]


@pytest.mark.parametrize(
    ("kinds", "error", "attempts"),
    [
        (["infrastructure"] * 3, InfrastructureError, 3),
        (["preempted"] * 4, Preempted, 4),
        (["out of memory", "preempted", "out of memory"], OutOfMemory, 3),
        (["diverged"], Diverged, 1),
        (["failed"], QuarkmedError, 1),
    ],
)
def test_each_kind_has_its_bound(kinds, error, attempts):
    backend = ScriptedBackend(*kinds, *kinds)
    with pytest.raises(error, match="why") as raised:
        run(backend)
    assert type(raised.value) is error and len(backend.attempts) == attempts


def test_the_very_error_is_raised_where_it_is_at_hand():
    class Backend:
        def run(self, attempt):
            return Ending("user error", attempt, "bad", error=DataError("x.jsonl:3: bad"))

    with pytest.raises(DataError, match=r"^x\.jsonl:3: bad$"):
        run(Backend())


def test_an_attempt_starts_only_where_it_may():
    spent = iter([None, DataError("budget")])

    def may_start():
        error = next(spent)
        if error:
            raise error

    backend = ScriptedBackend("preempted")
    with pytest.raises(DataError, match="budget"):
        run(backend, may_start=may_start)
    assert len(backend.attempts) == 1


def test_exit_codes_and_errors_have_their_kinds():
    codes = {0: "done", 1: "failed", 2: "user error", 43: "preempted", 44: "out of memory", 45: "diverged", 46: "infrastructure"}
    assert {code: kind_of_exit(code) for code in codes} == codes
    assert [kind_of_exit(code) for code in (-9, 137, -15, 143, -11, 139, 3)] == ["infrastructure"] * 4 + ["failed"] * 3
    assert (kind_of_error(DataError("x")), kind_of_error(QuarkmedError("x")), kind_of_error(OutOfMemory("x"))) == ("user error", "failed", "out of memory")


def test_the_last_message_is_found_in_what_a_process_printed():
    assert said_by("step 1\nquarkmed: first\nTraceback\nquarkmed: x.jsonl:3: bad\nE1126 torch says more\n") == "x.jsonl:3: bad"
    assert said_by("killed\n") == ""


def test_waits_grow_and_are_bounded():
    assert [wait_seconds(count, RetrySettings(first_wait_seconds=1, longest_wait_seconds=600)) for count in (1, 2, 3, 11, 5000)] == [1, 2, 4, 600, 600]


def test_a_stage_goes_where_it_is_sent():
    launch = LaunchSettings(backend="kubernetes", stages={"curate": "local"})
    assert (launch.backend_of("sft"), launch.backend_of("curate")) == ("kubernetes", "local")
    assert (launch.uses("local"), launch.uses("torchrun")) == (True, False)
