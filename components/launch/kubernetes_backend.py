"""Stages as jobs of a Kubernetes cluster: make the job or take it over, follow it to its end, delete it when told to stop.

Pods work in the same folder as this process, on a volume that both see: inputs, outputs, checkpoints and the stage's record
pass through it, and whoever follows the record needs no network. A job's name follows from what it makes, so that a run that
was killed finds its job at work and takes it over; one that had ended is made anew. An outage of the API is waited out while
the pods go on; at its bound the run gives up and the job is left to work.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from components.errors import InfrastructureError, Preempted, UserError, is_told_to_stop
from components.launch.ends import Attempt, Ending
from components.launch.gpu_hours import open_ledger
from components.launch.job_follower import JobFollower
from components.launch.kubernetes_api import ApiUnreachable, KubernetesApi, open_api
from components.launch.kubernetes_ends import is_over, pod_time
from components.launch.kubernetes_job import (
    ATTEMPT_LABEL,
    DIVISOR_NOTE,
    END_SECONDS,
    FOLDER_NOTE,
    KEY_LABEL,
    LABEL_LENGTH,
    PROJECT,
    RUN_LABEL,
    TrainingJob,
)
from components.launch.kubernetes_kinds import KINDS
from components.launch.launcher import can_train_on_several
from components.pipeline.graph import load_graph
from components.pipeline.running import StageRun, ended_run
from components.settings.cluster import TrainerPodSettings, load_trainer_pods
from components.settings.settings import Settings
from components.training.preemption import GO_ON

Object = dict[str, Any]
Answer = TypeVar("Answer")

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
OPENING_MINUTES = 1.0  # for the first answer of a run
RESULT_SECONDS = 60.0  # until what a pod wrote is seen here: a network file system's caches


class KubernetesBackend:
    """Runs attempts as jobs, one at a time."""

    def __init__(
        self, root: Path, api: KubernetesApi, *, run: str, settings: Settings, pod: TrainerPodSettings, log: Path,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:  # fmt: skip
        """Args: as of `open_cluster_backend`; pod: of a stage that trains on several processes."""
        self.root, self.api, self.run_id, self.settings, self.log = root, api, run, settings, log
        self.cluster, self._pod, self._tell = settings.launch.cluster, pod, tell
        self.jobs = KINDS[self.cluster.kind](api, self.cluster.namespace)
        self.pods = f"/api/v1/namespaces/{self.cluster.namespace}/pods"
        self.ledger = open_ledger(root)

    def run(self, attempt: Attempt) -> Ending:
        """Run an attempt to its end, or take over a job at work on the same key.

        Raises:
            Preempted: this process was told to stop meanwhile; the job was deleted, its pods saved their state.
            InfrastructureError: the API did not answer for outage_minutes; the job goes on.
            UserError: the cluster refuses the job.
        """
        attempt = self._take_over(attempt) or attempt
        job = self.job(attempt)
        follower = JobFollower(self, job, attempt)
        try:
            self._create(job)
            ending = follower.follow()
            return self._with_result(ending) if ending.kind == "done" else ending
        except BaseException as stop:
            if not is_told_to_stop(stop):
                raise
            self._cancel(job)
            raise Preempted(f"told to stop; job {job.name} was deleted, what was saved last is kept: {GO_ON}") from stop
        finally:
            follower.close()

    def job(self, attempt: Attempt) -> TrainingJob:
        """Return the job of an attempt: of several pods where the stage trains on several, else of one process (and one GPU at most)."""
        is_ranked = can_train_on_several(load_graph(self.root).row(attempt.stage), self.settings)
        pod = self._pod if is_ranked else self._pod.model_copy(update={"gpus": min(self._pod.gpus, 1)})
        return TrainingJob(
            namespace=self.cluster.namespace, stage=attempt.stage, stage_key=attempt.key, attempt=attempt.number,
            nodes=self.cluster.nodes if is_ranked else 1, grace_seconds=self.settings.system.grace_seconds, pod=pod,
            run=self.run_id, folder=folder_of_pods(self.root, self.cluster.mount), micro_divisor=attempt.micro_divisor, inset=self.jobs.inset,
        )  # fmt: skip

    def patiently(self, call: Callable[[], Answer], *, minutes: float | None = None) -> Answer:
        """Call the API until it answers, waiting longer each time.

        Raises:
            InfrastructureError: it did not within the minutes (outage_minutes).
        """
        bound = self.cluster.outage_minutes if minutes is None else minutes
        deadline, wait = time.monotonic() + 60 * bound, FIRST_BACK_OFF_SECONDS
        while True:
            try:
                return call()
            except ApiUnreachable as error:
                if time.monotonic() + wait > deadline:
                    raise InfrastructureError(f"the cluster's API did not answer for {bound:g} minutes ({error}); a job at work goes on, and is taken over when this command is run again") from None
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_BACK_OFF_SECONDS)

    def remove(self, name: str, *, grace_seconds: float) -> bool:
        """Delete a job with its pods and service, and wait until it is gone; return False where it was not within its grace and lost_minutes."""
        self.patiently(lambda: self.jobs.delete(name))
        deadline = time.monotonic() + grace_seconds + END_SECONDS + 60 * self.cluster.lost_minutes
        while self.patiently(lambda: self.jobs.find(name)) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(min(1.0, self.cluster.look_seconds))
        return True

    def jobs_where(self, selector: str) -> list[Object]:
        """Return the jobs of a label selector."""
        return self.patiently(lambda: self.jobs.where(selector))

    def pods_of(self, name: str) -> list[Object]:
        """Return the pods of a job; one call, without patience."""
        items: list[Object] = self.api.get(self.pods, labelSelector=f"{self.jobs.pod_label}={name}").get("items", [])
        return items

    def count_hours(self, pods: list[Object]) -> None:
        """Write what pods have used so far to the ledger."""
        times = (pod_time(pod, gpu_resource=self._pod.gpu_resource, now=time.time()) for pod in pods)
        self.ledger.note([item for item in times if item is not None])

    def _take_over(self, attempt: Attempt) -> Attempt | None:
        """Return the attempt at work on this key in this folder, the newest of several; remove what earlier runs left behind.

        A job of an earlier run that ended tells nothing new: what made it end may be mended. One of this run is this attempt's
        own, made by a call whose answer was lost.
        """
        folder, working = folder_of_pods(self.root, self.cluster.mount), []
        for item in self.jobs_where(f"{KEY_LABEL}={attempt.key[:LABEL_LENGTH]}"):
            notes, labels = item["metadata"].get("annotations", {}), item["metadata"]["labels"]
            if notes.get(FOLDER_NOTE) != folder:
                continue
            if not is_over(item) and not item["metadata"].get("deletionTimestamp"):
                working.append(replace(attempt, number=int(labels[ATTEMPT_LABEL]), micro_divisor=int(notes.get(DIVISOR_NOTE, "1"))))
            elif labels.get(RUN_LABEL) != self.run_id:
                self.count_hours(self.patiently(lambda name=item["metadata"]["name"]: self.pods_of(name)))
                self._remove_or_refuse(item["metadata"]["name"])
        return max(working, key=lambda found: found.number, default=None)

    def _remove_or_refuse(self, name: str) -> None:
        if not self.remove(name, grace_seconds=self.settings.system.grace_seconds):
            raise InfrastructureError(f"job {name} was deleted and does not end; look at its pods' nodes (`kubectl describe`), then run again")

    def _create(self, job: TrainingJob) -> None:
        """Create the job where it is not there yet."""
        made, is_new = self.patiently(lambda: self.jobs.create(job))
        self.patiently(lambda: self.jobs.complete(job, made))
        if not is_new:
            self._tell(f"{job.stage}: job {job.name} is there already, and taken over")

    def _cancel(self, job: TrainingJob) -> None:
        """Delete the job and let its pods save their state; a cluster that does not answer leaves the job to the next run."""
        with contextlib.suppress(InfrastructureError, UserError):
            self.jobs.delete(job.name)
            deadline = time.monotonic() + job.grace_seconds + END_SECONDS
            while self.jobs.find(job.name) is not None and time.monotonic() < deadline:
                self.count_hours(self.pods_of(job.name))
                time.sleep(min(0.5, self.cluster.look_seconds))

    def _with_result(self, ending: Ending) -> Ending:
        """Add what the stage made, which its marker in this folder says."""
        attempt = ending.attempt
        row, deadline = load_graph(self.root).row(attempt.stage), time.monotonic() + RESULT_SECONDS
        while True:
            run: StageRun | None = ended_run(self.root, row, attempt.key)
            if run is not None:
                return replace(ending, run=run)
            if time.monotonic() > deadline:
                return Ending("failed", attempt, f"stage {attempt.stage} ended well in its pod, but no result of its key stands in {self.root}: do pods mount this very folder at {PROJECT}?")
            time.sleep(0.5)


def folder_of_pods(root: Path, mount: Path) -> str:
    """Return the project's folder as pods see it.

    Raises:
        UserError: the folder is not on the volume.
    """
    try:
        return str(PurePosixPath(PROJECT) / root.resolve().relative_to(mount.resolve()))
    except ValueError:
        raise UserError(f"{root} is not on the pods' volume, which launch.cluster.mount says is seen here at {mount}; run in a folder on it, or correct the setting") from None


def open_cluster_backend(root: Path, *, run: str, settings: Settings, log: Path, tell: Callable[[str], None]) -> KubernetesBackend:
    """Return the cluster's backend, its first answer had, its settings read, and what ended runs left at work removed.

    Args:
        run: the run's id, a label of its jobs.
        log: the file that takes what a job's first pod prints.
        tell: takes a sentence for the run's notes.
    Raises:
        UserError: the pods' file is wrong, the folder is not on their volume, or rights are missing.
        InfrastructureError: no answer within a minute.
    """
    from components.launch.orphans import sweep_orphans

    cluster = settings.launch.cluster
    folder_of_pods(root, cluster.mount)
    backend = KubernetesBackend(root, open_api(cluster.address), run=run, settings=settings, pod=load_trainer_pods(cluster.pods), log=log, tell=tell)
    backend.patiently(backend.jobs.check, minutes=OPENING_MINUTES)
    for name in sweep_orphans(backend):
        tell(f"job {name} of a run that has ended was still at work, and was deleted")
    return backend
