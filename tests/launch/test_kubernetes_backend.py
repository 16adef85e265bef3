"""Stages as jobs, against an API server whose pods are processes: every kind of end, and lost connections on the way."""

import sys
import time

import pytest

from components.errors import (
    EXIT_DIVERGED,
    EXIT_OUT_OF_MEMORY,
    Diverged,
    InfrastructureError,
    OutOfMemory,
    QuarkmedError,
    UserError,
)
from components.launch import job_follower, kubernetes_backend
from components.launch.gpu_hours import open_ledger
from components.observing.run_log import read_logs

WAITING = "trap 'echo saved; exit 43' TERM; echo ready; while true; do sleep 0.02; done"
JOBS = "POST /apis/batch/v1/namespaces/n/jobs"


def test_a_stage_that_ends_well_is_taken_over_from_the_shared_folder(cluster):
    cluster.scripts = [cluster.good()]
    done = cluster.run()
    assert (done.name, done.key, done.is_resumed) == ("sources", cluster.attempt().key, False)
    assert (cluster.root / "artifacts" / "sources").read_text() == "made"
    assert cluster.log_lines() == ["making", "made"]
    (job,) = cluster.made
    assert job["metadata"]["labels"]["quarkmed/run"] == "run-1"
    (service,) = cluster.server.services.values()
    assert service["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    (pod,) = open_ledger(cluster.root).pods()
    assert (pod.stage, pod.run, pod.gpus, pod.has_ended) == ("sources", "run-1", 1, True)  # one process: one of the two GPUs


def test_pods_log_to_the_runs_folder_rank_0_as_the_warm_process_does(cluster):
    write = "from components.observing.run_log import open_process_log; open_process_log().write('here')"
    cluster.scripts = [f"for rank in 0 1; do WORLD_SIZE=2 RANK=$rank {sys.executable} -c \"{write}\"; done; {cluster.good()}"]
    cluster.run()
    logged = read_logs(cluster.root / "runs" / "run-1" / "logs")
    assert [(line["process"], line["rank"], line["run"], line["event"]) for line in logged] == [("stages", 0, "run-1", "here"), ("stages-rank-1", 1, "run-1", "here")]


@pytest.mark.parametrize(("code", "kind"), [(2, UserError), (EXIT_DIVERGED, Diverged), (1, QuarkmedError), (139, QuarkmedError)])
def test_an_end_that_is_the_stages_own_is_not_tried_again(cluster, code, kind):
    cluster.scripts = [f"echo 'quarkmed: x.jsonl:3: bad line; mend it'; echo Traceback; exit {code}"]
    with pytest.raises(kind, match=r"job sources-\w+-1, pod .*: x\.jsonl:3: bad line; mend it$") as raised:
        cluster.run()
    assert type(raised.value) is kind and len(cluster.made) == 1


def test_out_of_memory_is_tried_once_more_with_half_the_tokens_a_pass(cluster):
    cluster.scripts = [f"exit {EXIT_OUT_OF_MEMORY}", cluster.good()]
    assert cluster.run().name == "sources"
    first, second = (job["spec"]["template"]["spec"]["containers"][0]["command"] for job in cluster.made)
    assert "--micro-divisor" not in first and second[-2:] == ["--micro-divisor", "2"]
    assert "attempt 2 with micro_tokens / 2 goes on from the last checkpoint" in cluster.told[0]


def test_out_of_memory_twice_is_the_end(cluster):
    cluster.scripts = [f"echo 'quarkmed: memory was exhausted'; exit {EXIT_OUT_OF_MEMORY}"]
    with pytest.raises(OutOfMemory, match="memory was exhausted"):
        cluster.run()
    assert len(cluster.made) == 2


def test_the_kernels_killer_is_out_of_memory_too(cluster):
    cluster.scripts = [WAITING, cluster.good()]
    cluster.later(lambda: cluster.server.pods.kill_for_memory(cluster.server.only_job()))
    cluster.run()
    assert "OOMKilled" in cluster.told[0]
    assert cluster.made[1]["metadata"]["annotations"]["quarkmed/micro-divisor"] == "2"


@pytest.mark.parametrize(("fault", "kind"), [("preempt", "preempted"), ("evict", "infrastructure")])
def test_a_pod_that_is_taken_away_goes_on_in_the_next_attempt(cluster, fault, kind):
    cluster.scripts = [WAITING, cluster.good()]
    cluster.later(lambda: getattr(cluster.server.pods, fault)(cluster.server.only_job()))
    cluster.run()
    assert [job["metadata"]["labels"]["quarkmed/attempt"] for job in cluster.made] == ["1", "2"]
    assert f"attempt 1 ended ({kind}: " in cluster.told[0] and "--micro-divisor" not in str(cluster.made[1])
    assert cluster.log_lines()[-1] == "made"


def test_a_lost_node_is_left_behind_at_the_bound(cluster, monkeypatch):
    monkeypatch.setattr(job_follower, "END_SECONDS", 0.0)
    cluster.launch["cluster"]["lost_minutes"] = 0.2 / 60
    cluster.scripts = [WAITING, cluster.good()]
    cluster.later(lambda: cluster.server.pods.lose_node(cluster.server.only_job()))
    cluster.run()
    assert "ending for longer than launch.cluster.lost_minutes allows" in cluster.told[0]
    assert len(cluster.made) == 2


def test_an_image_that_cannot_be_pulled_is_given_up_after_the_retries(cluster):
    (cluster.root / "pods.yaml").write_text("{image: 'missing:1', cpus: 1, memory_gibibytes: 2}")
    cluster.launch["cluster"]["start_minutes"] = 0.1 / 60
    with pytest.raises(InfrastructureError, match=r"starting for longer than launch\.cluster\.start_minutes allows: ImagePullBackOff"):
        cluster.run()
    assert cluster.server.calls.count(JOBS) == 2  # the first, and launch.retry.infrastructure: 1 more
    assert cluster.server.pods.jobs == {} and cluster.server.services == {}


def test_a_pod_without_a_node_is_waited_for_with_a_bound(cluster):
    cluster.server.pods.gpus = 0
    cluster.launch["cluster"]["queue_hours"] = 0.1 / 3600
    cluster.launch["retry"]["infrastructure"] = 0
    with pytest.raises(InfrastructureError, match=r"queue_hours allows: 0/3 nodes are available: insufficient nvidia\.com/gpu"):
        cluster.run()


def test_a_job_that_is_deleted_from_outside_is_made_again(cluster):
    cluster.scripts = [WAITING, cluster.good()]
    cluster.later(lambda: cluster.server.pods.delete(cluster.server.only_job()))
    cluster.run()
    assert len(cluster.made) == 2


def test_an_outage_is_waited_out_while_the_pods_go_on(cluster):
    cluster.scripts = [f"echo ready; sleep 0.3; {cluster.good()}"]

    def fail():
        cluster.server.only_job()
        with cluster.server.outage():
            time.sleep(0.6)

    cluster.later(fail)
    cluster.run()
    assert len(cluster.made) == 1 and cluster.told == []
    assert cluster.log_lines() == ["ready", "making", "made"]


def test_lost_watches_cut_logs_and_answers_of_500_cost_nothing(cluster):
    backend = cluster.backend()
    cluster.scripts = [f"for i in 1 2 3 4; do echo line $i; sleep 0.1; done; {cluster.good()}"]
    cluster.server.answers_500, cluster.server.cut_watches, cluster.server.cut_logs = 2, 3, 2
    assert backend.run(cluster.attempt()).kind == "done"
    assert cluster.log_lines() == ["line 1", "line 2", "line 3", "line 4", "making", "made"]
    assert len(cluster.made) == 1


def test_of_two_pods_the_one_out_of_memory_is_the_cause(cluster):
    cluster.launch["cluster"]["nodes"] = 2
    settings = cluster.settings.model_copy(update={"engine": cluster.settings.engine.model_copy(update={"strategy": "ddp"})})
    backend = cluster.backend()
    backend.settings = settings
    cluster.scripts = [f"if [ $INDEX = 1 ]; then sleep 0.2; exit {EXIT_OUT_OF_MEMORY}; fi; {WAITING}"]
    ending = backend.run(cluster.attempt())
    assert ending.kind == "out of memory"
    assert [pod.gpus for pod in open_ledger(cluster.root).pods()] == [2, 2]


def test_a_result_that_is_not_seen_here_is_said(cluster, monkeypatch):
    monkeypatch.setattr(kubernetes_backend, "RESULT_SECONDS", 0.1)
    cluster.scripts = ["echo nothing"]
    with pytest.raises(QuarkmedError, match="do pods mount this very folder"):
        cluster.run()
