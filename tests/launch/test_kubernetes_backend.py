"""Stages as jobs, against an API server whose pods are processes: every kind of end, and everything that goes wrong on the way."""

import os
import signal
import threading
import time

import pytest

from components.errors import (
    EXIT_DIVERGED,
    EXIT_OUT_OF_MEMORY,
    Diverged,
    InfrastructureError,
    OutOfMemory,
    Preempted,
    QuarkmedError,
    SettingsError,
    UserError,
)
from components.launch import job_follower, kubernetes_backend
from components.launch.attempts import run_attempts
from components.launch.gpu_hours import open_ledger
from components.launch.launcher import RoutingLauncher
from components.pipeline.events import RunEvents

WAITING = "trap 'echo saved; exit 43' TERM; echo ready; while true; do sleep 0.02; done"
JOBS = "POST /apis/batch/v1/namespaces/n/jobs"


def run(cluster, run_id="run-1"):
    return run_attempts(cluster.backend(run_id), cluster.attempt(), retry=cluster.settings.launch.retry, may_start=lambda: None, tell=cluster.told.append)


def later(act, *, seconds=0.0):
    """Do something in a thread once the test has begun to wait."""
    thread = threading.Timer(seconds, act)
    thread.start()
    return thread


def lines_of_log(cluster):
    return (cluster.root / "log.txt").read_text().splitlines()


def test_a_stage_that_ends_well_is_taken_over_from_the_shared_folder(cluster):
    cluster.scripts = [cluster.good()]
    done = run(cluster)
    assert (done.name, done.key, done.is_resumed) == ("sources", cluster.attempt().key, False)
    assert (cluster.root / "artifacts" / "sources").read_text() == "made"
    assert lines_of_log(cluster) == ["making", "made"]
    (job,) = cluster.made
    assert job["metadata"]["labels"]["quarkmed/run"] == "run-1"
    (service,) = cluster.server.services.values()
    assert service["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    (pod,) = open_ledger(cluster.root).pods()
    assert (pod.stage, pod.run, pod.gpus, pod.has_ended) == ("sources", "run-1", 1, True)  # one process: one of the two GPUs


@pytest.mark.parametrize(("code", "kind"), [(2, UserError), (EXIT_DIVERGED, Diverged), (1, QuarkmedError), (139, QuarkmedError)])
def test_an_end_that_is_the_stages_own_is_not_tried_again(cluster, code, kind):
    cluster.scripts = [f"echo 'quarkmed: x.jsonl:3: bad line; mend it'; echo Traceback; exit {code}"]
    with pytest.raises(kind, match=r"job sources-\w+-1, pod .*: x\.jsonl:3: bad line; mend it$") as raised:
        run(cluster)
    assert type(raised.value) is kind and len(cluster.made) == 1


def test_out_of_memory_is_tried_once_more_with_half_the_tokens_a_pass(cluster):
    cluster.scripts = [f"exit {EXIT_OUT_OF_MEMORY}", cluster.good()]
    assert run(cluster).name == "sources"
    first, second = (job["spec"]["template"]["spec"]["containers"][0]["command"] for job in cluster.made)
    assert "--micro-divisor" not in first and second[-2:] == ["--micro-divisor", "2"]
    assert "attempt 2 with micro_tokens / 2 goes on from the last checkpoint" in cluster.told[0]


def test_out_of_memory_twice_is_the_end(cluster):
    cluster.scripts = [f"echo 'quarkmed: memory was exhausted'; exit {EXIT_OUT_OF_MEMORY}"]
    with pytest.raises(OutOfMemory, match="memory was exhausted"):
        run(cluster)
    assert len(cluster.made) == 2


def test_the_kernels_killer_is_out_of_memory_too(cluster):
    cluster.scripts = [WAITING, cluster.good()]
    later(lambda: cluster.server.pods.kill_for_memory(cluster.server.only_job()))
    run(cluster)
    assert "OOMKilled" in cluster.told[0]
    assert cluster.made[1]["metadata"]["annotations"]["quarkmed/micro-divisor"] == "2"


@pytest.mark.parametrize(("fault", "kind"), [("preempt", "preempted"), ("evict", "infrastructure")])
def test_a_pod_that_is_taken_away_goes_on_in_the_next_attempt(cluster, fault, kind):
    cluster.scripts = [WAITING, cluster.good()]
    later(lambda: getattr(cluster.server.pods, fault)(cluster.server.only_job()))
    run(cluster)
    assert [job["metadata"]["labels"]["quarkmed/attempt"] for job in cluster.made] == ["1", "2"]
    assert f"attempt 1 ended ({kind}: " in cluster.told[0] and "--micro-divisor" not in str(cluster.made[1])
    assert lines_of_log(cluster)[-1] == "made"


def test_a_lost_node_is_left_behind_at_the_bound(cluster, monkeypatch):
    monkeypatch.setattr(job_follower, "END_SECONDS", 0.0)
    cluster.launch["cluster"]["lost_minutes"] = 0.2 / 60
    cluster.scripts = [WAITING, cluster.good()]
    later(lambda: cluster.server.pods.lose_node(cluster.server.only_job()))
    run(cluster)
    assert "ending for longer than launch.cluster.lost_minutes allows" in cluster.told[0]
    assert len(cluster.made) == 2


def test_an_image_that_cannot_be_pulled_is_given_up_after_the_retries(cluster):
    (cluster.root / "pods.yaml").write_text("{image: 'missing:1', cpus: 1, memory_gibibytes: 2}")
    cluster.launch["cluster"]["start_minutes"] = 0.1 / 60
    with pytest.raises(InfrastructureError, match=r"starting for longer than launch\.cluster\.start_minutes allows: ImagePullBackOff"):
        run(cluster)
    assert cluster.server.calls.count(JOBS) == 3  # the first, and launch.retry.infrastructure: 2 more
    assert cluster.server.pods.jobs == {} and cluster.server.services == {}


def test_a_pod_without_a_node_is_waited_for_with_a_bound(cluster):
    cluster.server.pods.gpus = 0
    cluster.launch["cluster"]["queue_hours"] = 0.1 / 3600
    cluster.launch["retry"]["infrastructure"] = 0
    with pytest.raises(InfrastructureError, match=r"queue_hours allows: 0/3 nodes are available: insufficient nvidia\.com/gpu"):
        run(cluster)


def test_a_job_that_is_deleted_from_outside_is_made_again(cluster):
    cluster.scripts = [WAITING, cluster.good()]
    later(lambda: cluster.server.pods.delete(cluster.server.only_job()))
    run(cluster)
    assert len(cluster.made) == 2


def test_an_outage_is_waited_out_while_the_pods_go_on(cluster):
    cluster.scripts = [f"echo ready; sleep 0.5; {cluster.good()}"]

    def fail():
        cluster.server.only_job()
        with cluster.server.outage():
            time.sleep(1.0)

    later(fail)
    run(cluster)
    assert len(cluster.made) == 1 and cluster.told == []
    assert lines_of_log(cluster) == ["ready", "making", "made"]


def test_lost_watches_cut_logs_and_answers_of_500_cost_nothing(cluster):
    backend = cluster.backend()
    cluster.scripts = [f"for i in 1 2 3 4; do echo line $i; sleep 0.1; done; {cluster.good()}"]
    cluster.server.answers_500, cluster.server.cut_watches, cluster.server.cut_logs = 2, 3, 2
    assert backend.run(cluster.attempt()).kind == "done"
    assert lines_of_log(cluster) == ["line 1", "line 2", "line 3", "line 4", "making", "made"]
    assert len(cluster.made) == 1


def test_a_job_whose_creation_was_not_answered_is_found_by_its_name(cluster):
    backend = cluster.backend()
    cluster.scripts = [cluster.good()]
    create = backend.api.create

    def lose_the_answer(path, manifest):
        backend.api.create = create
        cluster.server.lost_answers = 1
        return create(path, manifest)

    backend.api.create = lose_the_answer
    assert backend.run(cluster.attempt()).kind == "done"
    assert cluster.server.calls.count(JOBS) == 2 and len(cluster.made) == 1
    assert "is there already, and taken over" in cluster.told[0]


def test_after_an_outage_beyond_its_bound_the_next_run_takes_the_job_over(cluster):
    cluster.scripts = [f"echo ready; while ! test -e go; do sleep 0.02; done; {cluster.good()}"]
    cluster.launch["cluster"]["outage_minutes"] = 0.3 / 60

    def fail():
        cluster.server.only_job()
        cluster.server.shut()

    thread = later(fail)
    with pytest.raises(InfrastructureError, match="a job at work goes on, and is taken over"):
        run(cluster)
    thread.join()
    cluster.server.start()
    RunEvents(cluster.root / "runs" / "run-1").phase("killed later")
    later((cluster.root / "go").touch, seconds=0.3)
    assert run(cluster, "run-2").name == "sources"
    assert len(cluster.made) == 1
    assert {pod.run for pod in open_ledger(cluster.root).pods()} == {"run-1"}  # whose job it was


def test_what_an_earlier_runs_job_ended_with_is_not_believed(cluster):
    cluster.scripts = ["exit 2", cluster.good()]
    with pytest.raises(UserError):
        run(cluster)
    assert run(cluster, "run-2").name == "sources"
    first, second = cluster.made
    assert first["metadata"]["name"] == second["metadata"]["name"]


def test_told_to_stop_it_deletes_the_job_once_its_pods_have_saved(cluster):
    cluster.scripts = [f"{WAITING} > said.txt"]
    cluster.server.pods.program = lambda job, index: ["sh", "-c", f"echo begun; {WAITING.replace('echo saved', 'touch saved')}"]

    def tell_to_stop(number, frame):
        raise Preempted("told to stop")

    before = signal.signal(signal.SIGUSR1, tell_to_stop)
    try:
        later(lambda: (cluster.server.only_job(), os.kill(os.getpid(), signal.SIGUSR1)))
        with pytest.raises(Preempted, match=r"job sources-\w+-1 was deleted"):
            run(cluster)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (cluster.root / "saved").exists()
    assert cluster.server.pods.jobs == {} and cluster.server.services == {}


def test_of_two_pods_the_one_out_of_memory_is_the_cause(cluster):
    cluster.launch["cluster"]["nodes"] = 2
    settings = cluster.settings.model_copy(update={"engine": cluster.settings.engine.model_copy(update={"strategy": "ddp"})})
    backend = cluster.backend()
    backend.settings = settings
    cluster.scripts = [f"if [ $INDEX = 1 ]; then sleep 0.2; exit {EXIT_OUT_OF_MEMORY}; fi; {WAITING}"]
    ending = backend.run(cluster.attempt())
    assert ending.kind == "out of memory"
    assert [pod.gpus for pod in open_ledger(cluster.root).pods()] == [2, 2]


def test_missing_rights_are_said_before_the_first_stage(cluster):
    cluster.server.denied = {("list", "jobs")}
    with pytest.raises(UserError, match=r"403 jobs is forbidden.*worker-rights\.yaml"):
        cluster.backend()


def test_a_folder_that_is_not_on_the_volume_is_refused(cluster):
    cluster.launch["cluster"]["mount"] = "/nowhere"
    with pytest.raises(UserError, match=r"not on the pods' volume"):
        cluster.backend()


def test_a_result_that_is_not_seen_here_is_said(cluster, monkeypatch):
    monkeypatch.setattr(kubernetes_backend, "RESULT_SECONDS", 0.1)
    cluster.scripts = ["echo nothing"]
    with pytest.raises(QuarkmedError, match="do pods mount this very folder"):
        run(cluster)


def test_no_stage_starts_beyond_the_budget(cluster):
    cluster.launch["budget_gpu_hours"] = 1e-9
    cluster.scripts = [f"sleep 1.1; {cluster.good()}"]
    launcher = RoutingLauncher(cluster.root, run="run-1", settings=cluster.settings, log=cluster.root / "log.txt")
    assert launcher.run_stage("sources", cluster.attempt().key).name == "sources"
    with pytest.raises(UserError, match=r"launch\.budget_gpu_hours: this run has spent 0\.00 of its 1e-09 GPU-hours"):
        launcher.run_stage("ift", cluster.attempt("ift").key)
    assert len(cluster.made) == 1


def test_a_stage_that_dvc_does_not_know_is_refused_with_the_nearest(cluster):
    cluster.launch["stages"] = {"source": "local"}
    with pytest.raises(SettingsError, match=r"'source', which dvc\.yaml does not; did you mean sources"):
        RoutingLauncher(cluster.root, run="r", settings=cluster.settings, log=cluster.root / "log.txt")


def test_jobs_of_ended_runs_are_swept_and_those_that_can_be_taken_over_are_not(cluster):
    cluster.scripts = [WAITING]
    for number, run_id in enumerate(("ended", "killed", "killed-too"), 1):
        backend = cluster.backend(run_id)
        attempt = cluster.attempt("ift" if run_id == "killed-too" else "sources")
        job = backend.job(attempt)
        job = job if run_id != "ended" else backend.job(type(attempt)("sources", f"{number}" * 64))
        backend._create(job)
        RunEvents(cluster.root / "runs" / run_id).phase("at work")
    RunEvents(cluster.root / "runs" / "ended").end("failed")
    elsewhere = type(job)(**{**vars(job), "folder": "/project/var/worktrees/gone", "run": "other"})
    (cluster.root / "var/worktrees/gone").mkdir(parents=True)
    backend._create(elsewhere)
    (cluster.root / "var/worktrees/there").mkdir()
    other = type(job)(**{**vars(job), "folder": "/project/var/worktrees/there", "run": "other"})
    backend._create(other)
    while not cluster.server.pods.pods[other.name][0].lines:
        time.sleep(0.02)
    (cluster.root / "var/worktrees/gone").rmdir()
    (cluster.root / "data" / "notes.txt").write_text("two")  # now `killed` and `killed-too` make what nobody wants
    sources = cluster.backend("now")
    left = {job["metadata"]["labels"]["quarkmed/run"] for job in cluster.server.pods.jobs.values()}
    assert left == {"other"} and list(cluster.server.pods.jobs) == [other.name]
    assert len([sentence for sentence in cluster.told if "was deleted" in sentence]) == 4
    again = sources.job(cluster.attempt())
    sources._create(again)
    RunEvents(cluster.root / "runs" / "now").phase("killed")
    cluster.backend("next")
    assert again.name in cluster.server.pods.jobs  # it makes what `next` wants
