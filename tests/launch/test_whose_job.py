"""Whose job it is: taken over from a killed run, made anew after an ended one, deleted when told to stop, swept, or never made."""

import dataclasses
import os
import signal
import time

import pytest

from components.errors import InfrastructureError, Preempted, SettingsError, UserError
from components.launch.gpu_hours import open_ledger
from components.launch.launcher import RoutingLauncher
from components.pipeline.events import RunEvents

WAITING = "trap 'echo saved; exit 43' TERM; echo ready; while true; do sleep 0.02; done"
JOBS = "POST /apis/batch/v1/namespaces/n/jobs"


def test_a_job_whose_creation_was_not_answered_is_found_by_its_name(cluster):
    backend = cluster.backend()
    cluster.scripts = [cluster.good()]
    cluster.lose_the_answer(backend)
    assert backend.run(cluster.attempt()).kind == "done"
    assert cluster.server.calls.count(JOBS) == 2 and len(cluster.made) == 1
    assert "is there already, and taken over" in cluster.told[0]


def test_after_an_outage_beyond_its_bound_the_next_run_takes_the_job_over(cluster):
    cluster.scripts = [f"echo ready; while ! test -e go; do sleep 0.02; done; {cluster.good()}"]
    cluster.launch["cluster"]["outage_minutes"] = 0.3 / 60

    def fail():
        cluster.server.only_job()
        cluster.server.shut()

    thread = cluster.later(fail)
    with pytest.raises(InfrastructureError, match="a job at work goes on, and is taken over"):
        cluster.run()
    thread.join()
    cluster.server.start()
    RunEvents(cluster.root / "runs" / "run-1").phase("killed later")

    def go_on_once_it_is_taken_over():
        while not cluster.told:
            time.sleep(0.02)
        (cluster.root / "go").touch()

    cluster.later(go_on_once_it_is_taken_over)
    assert cluster.run("run-2").name == "sources"
    assert len(cluster.made) == 1
    assert {pod.run for pod in open_ledger(cluster.root).pods()} == {"run-1"}  # whose job it was


def test_what_an_earlier_runs_job_ended_with_is_not_believed(cluster):
    cluster.scripts = ["exit 2", cluster.good()]
    with pytest.raises(UserError):
        cluster.run()
    assert cluster.run("run-2").name == "sources"
    first, second = cluster.made
    assert first["metadata"]["name"] == second["metadata"]["name"]


def test_told_to_stop_it_deletes_the_job_once_its_pods_have_saved(cluster):
    cluster.scripts = [WAITING.replace("echo saved", "touch saved; echo saved")]

    def tell_to_stop(number, frame):
        raise Preempted("told to stop")

    def stop_once_it_is_followed():
        cluster.server.only_job()
        while not (cluster.root / "log.txt").exists() or not cluster.log_lines():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, tell_to_stop)
    try:
        cluster.later(stop_once_it_is_followed)
        with pytest.raises(Preempted, match=r"job sources-\w+-1 was deleted"):
            cluster.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (cluster.root / "saved").exists() and cluster.log_lines() == ["ready", "saved"]
    assert cluster.server.pods.jobs == {} and cluster.server.services == {}


def test_missing_rights_are_said_before_the_first_stage(cluster):
    cluster.server.denied = {("list", "jobs")}
    with pytest.raises(UserError, match=r"403 jobs is forbidden.*worker-rights\.yaml"):
        cluster.backend()


def test_a_folder_that_is_not_on_the_volume_is_refused(cluster):
    cluster.launch["cluster"]["mount"] = "/nowhere"
    with pytest.raises(UserError, match=r"not on the pods' volume"):
        cluster.backend()


def test_no_stage_starts_beyond_the_budget(cluster):
    cluster.launch["budget_gpu_hours"] = 2.0
    cluster.scripts = [cluster.good()]
    launcher = RoutingLauncher(cluster.root, run="run-1", settings=cluster.settings, log=cluster.root / "log.txt")
    assert launcher.run_stage("sources", cluster.attempt().key).name == "sources"
    (pod,) = open_ledger(cluster.root).pods()
    open_ledger(cluster.root).note([dataclasses.replace(pod, gpus=4, started=pod.ended - 1800)])  # 4 GPUs for half an hour
    with pytest.raises(UserError, match=r"launch\.budget_gpu_hours: this run has spent 2\.00 of its 2 GPU-hours"):
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
