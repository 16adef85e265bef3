"""Jobs whose pods are processes of this machine: what a cluster's job controller and nodes do, as far as our launcher can see.

A pod runs what `program` says (the rendered command by default), in the volume's folder, with its container's variables and
completion index. It ends as on a node: exit code, reason, the last lines of its log. A failed pod fails its job by the
job's own failure policy, and the others are told to stop. Faults are methods: evict, preempt, kill_for_memory, lose_node.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Object = dict[str, Any]
MESSAGE_BYTES = 2048
GRACE_SECONDS = 10.0


def stamp(*, whole: bool = True) -> str:
    now = datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ") if whole else now.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{time.time_ns() % 1000:03d}Z"


def condition(kind: str, **more: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": stamp(), **more}


class LocalPod:
    """One pod: its object, its process, its log."""

    def __init__(self, job: Object, index: int) -> None:
        name = job["metadata"]["name"]
        template = job["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": name, "batch.kubernetes.io/job-completion-index": str(index)}
        self.index = index
        self.container = template["spec"]["containers"][0]
        self.lines: list[tuple[str, str]] = []
        self.process: subprocess.Popen[str] | None = None
        self.dies_for_memory = self.is_evicted = self.is_lost = False
        self.object: Object = {
            "metadata": {"name": f"{name}-{index}-{os.urandom(3).hex()}", "uid": os.urandom(8).hex(), "labels": labels, "annotations": {"batch.kubernetes.io/job-completion-index": str(index)}},
            "spec": {"containers": [self.container]}, "status": {"phase": "Pending", "conditions": []},
        }  # fmt: skip

    @property
    def status(self) -> Object:
        return self.object["status"]

    @property
    def has_ended(self) -> bool:
        return self.status["phase"] in ("Succeeded", "Failed")

    def set_state(self, phase: str, **state: Object) -> None:
        self.status["phase"] = phase
        self.status["containerStatuses"] = [{"name": self.container["name"], "state": state}]

    def start(self, command: list[str], folder: Path, volume: Path) -> None:
        own = {item["name"]: item["value"].replace("/project", str(volume)) for item in self.container["env"]}
        environment = {**os.environ, **own, "JOB_COMPLETION_INDEX": str(self.index)}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.object["spec"]["nodeName"] = f"node-{self.index}"
        self.status["startTime"] = stamp()
        self.set_state("Running", running={"startedAt": stamp()})

    def terminated(self) -> Object:
        assert self.process is not None
        code = self.process.returncode
        reason = "OOMKilled" if self.dies_for_memory else "Completed" if code == 0 else "Error"
        text = "\n".join(line for _, line in self.lines)[-MESSAGE_BYTES:]
        return {"exitCode": 128 - code if code < 0 else code, "reason": reason, "finishedAt": stamp(), "message": text if code else ""}

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number) if number == signal.SIGKILL else self.process.send_signal(number)


class LocalPods:
    """The job controller. `changed` is notified, under the state's lock, whenever an object changes."""

    def __init__(self, volume: Path, *, gpus: int = 8) -> None:
        self.volume, self.gpus = volume, gpus
        self.program: Callable[[Object, int], list[str]] = self.rendered_command
        self.port = 0
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, list[LocalPod]] = {}
        self.version = 1
        self.changed = threading.Condition(threading.RLock())

    def rendered_command(self, job: Object, index: int) -> list[str]:
        """The container's own command; `python` is ours, and the service's name resolves to loopback."""
        first = f"{job['metadata']['name']}-0.{job['spec']['template']['spec']['subdomain']}"
        command = [part.replace("$(JOB_COMPLETION_INDEX)", str(index)).replace(first, "127.0.0.1") for part in job["spec"]["template"]["spec"]["containers"][0]["command"]]
        if self.port:
            command[command.index("--master-port") + 1] = str(self.port)
        return [sys.executable if command[0] == "python" else command[0], *command[1:]]

    def add(self, job: Object) -> None:
        """Take a job in and begin it in a thread."""
        with self.changed:
            job["metadata"] |= {"uid": os.urandom(8).hex()}
            job["status"] = {"conditions": []}
            self.jobs[job["metadata"]["name"]] = job
            self.pods[job["metadata"]["name"]] = [LocalPod(job, index) for index in range(job["spec"]["completions"])]
            self.notify(job)
        threading.Thread(target=self._work, args=(job,), daemon=True).start()

    def notify(self, job: Object | None = None) -> None:
        with self.changed:
            self.version += 1
            if job is not None:
                job["metadata"]["resourceVersion"] = str(self.version)
            self.changed.notify_all()

    def delete(self, name: str) -> None:
        """Foreground: pods end first, then the job goes."""
        with self.changed:
            job = self.jobs[name]
            job["metadata"].setdefault("deletionTimestamp", stamp())
            for pod in self.pods[name]:
                pod.object["metadata"]["deletionTimestamp"] = stamp()
            self.notify(job)
        threading.Thread(target=self._finish_deletion, args=(name,), daemon=True).start()

    def evict(self, name: str, index: int = 0) -> None:
        """A node short of memory or disk ends the pod at once."""
        pod = self.pods[name][index]
        pod.is_evicted = True
        pod.status["conditions"].append(condition("DisruptionTarget", reason="TerminationByKubelet", message="The node was low on resource: memory."))
        pod.signal(signal.SIGKILL)

    def preempt(self, name: str, index: int = 0) -> None:
        """A node that is drained, or a machine that is taken back: SIGTERM, and time for a checkpoint."""
        pod = self.pods[name][index]
        pod.status["conditions"].append(condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting"))
        pod.signal(signal.SIGTERM)

    def kill_for_memory(self, name: str, index: int = 0) -> None:
        pod = self.pods[name][index]
        pod.dies_for_memory = True
        pod.signal(signal.SIGKILL)

    def lose_node(self, name: str, index: int = 0) -> None:
        """The node answers no more: the pod is marked for deletion and stands as it was."""
        pod = self.pods[name][index]
        pod.is_lost = True
        pod.object["metadata"]["deletionTimestamp"] = stamp()
        pod.status["conditions"].append(condition("DisruptionTarget", reason="DeletionByTaintManager", message="Taint manager: deleting due to NoExecute taint"))
        pod.signal(signal.SIGKILL)
        self.notify(self.jobs[name])

    def stop(self) -> None:
        for pods in self.pods.values():
            for pod in pods:
                pod.signal(signal.SIGKILL)

    def _work(self, job: Object) -> None:
        name = job["metadata"]["name"]
        pods = self.pods[name]
        for pod in pods:
            if not self._place(job, pod):
                return
        while not all(pod.has_ended for pod in pods):
            if job["metadata"].get("deletionTimestamp"):
                return
            self._collect(job, pods)
            time.sleep(0.02)
        with self.changed:
            failed = next((item for item in job["status"]["conditions"] if item["type"] == "FailureTarget"), None)
            ended = condition("Failed", reason=failed["reason"], message=failed["message"]) if failed else condition("Complete")
            job["status"]["conditions"].append(ended)
            self.notify(job)

    def _place(self, job: Object, pod: LocalPod) -> bool:
        """Start a pod where there is room and an image; return whether it started."""
        limits, image = pod.container["resources"]["limits"], pod.container["image"]
        if int(limits.get("nvidia.com/gpu", 0)) > self.gpus:
            pod.status["conditions"].append({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: insufficient nvidia.com/gpu."})
            self.notify(job)
            return False
        if "missing" in image:
            pod.object["spec"]["nodeName"] = "node-0"
            pod.status["startTime"] = stamp()
            pod.set_state("Pending", waiting={"reason": "ImagePullBackOff", "message": f"Back-off pulling image {image!r}"})
            self.notify(job)
            return False
        folder = self.volume / Path(pod.container["workingDir"]).relative_to("/project")
        pod.start(self.program(job, pod.index), folder, self.volume)
        threading.Thread(target=self._read_log, args=(pod,), daemon=True).start()
        self.notify(job)
        return True

    def _read_log(self, pod: LocalPod) -> None:
        assert pod.process is not None and pod.process.stdout is not None
        for line in pod.process.stdout:
            with self.changed:
                pod.lines.append((stamp(whole=False), line.rstrip("\n")))
                self.notify()
        pod.process.wait()

    def _collect(self, job: Object, pods: list[LocalPod]) -> None:
        """Note the pods that ended; the first that failed fails the job, and the others are told to stop."""
        for pod in pods:
            if pod.has_ended or pod.is_lost or pod.process is None or pod.process.poll() is None:
                continue
            time.sleep(0.02)  # its last lines
            with self.changed:
                ended = pod.terminated()
                pod.set_state("Succeeded" if ended["exitCode"] == 0 else "Failed", terminated=ended)
                if pod.is_evicted:
                    pod.status["reason"], pod.status["message"] = "Evicted", "The node was low on resource: memory."
                is_first = ended["exitCode"] and not any(item["type"] == "FailureTarget" for item in job["status"]["conditions"])
                if is_first:
                    job["status"]["conditions"].append(condition("FailureTarget", **self._why(job, pod, ended["exitCode"])))
                self.notify(job)
            for other in pods if is_first else ():
                other.signal(signal.SIGTERM)

    def _why(self, job: Object, pod: LocalPod, code: int) -> dict[str, str]:
        """The job's own failure policy: the first rule that fits names the reason."""
        name = pod.object["metadata"]["name"]
        for number, rule in enumerate(job["spec"]["podFailurePolicy"]["rules"]):
            if code in rule.get("onExitCodes", {}).get("values", []):
                return {"reason": "PodFailurePolicy", "message": f"Container {pod.container['name']} for pod n/{name} failed with exit code {code} matching FailJob rule at index {number}"}
            if "onPodConditions" in rule and any(item["type"] == "DisruptionTarget" for item in pod.status["conditions"]):
                return {"reason": "PodFailurePolicy", "message": f"Pod n/{name} has condition DisruptionTarget matching FailJob rule at index {number}"}
        return {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}

    def _finish_deletion(self, name: str) -> None:
        pods, deadline = self.pods[name], time.monotonic() + GRACE_SECONDS
        for pod in pods:
            pod.signal(signal.SIGTERM)
        while any(pod.process is not None and pod.process.poll() is None for pod in pods) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pod in pods:
            pod.signal(signal.SIGKILL)
        time.sleep(0.05)  # their last lines
        with self.changed:
            for pod in pods:
                if pod.process is not None and pod.process.poll() is not None:
                    pod.set_state("Failed", terminated=pod.terminated())
            self.jobs.pop(name, None)
            self.pods.pop(name, None)
            self.notify()
