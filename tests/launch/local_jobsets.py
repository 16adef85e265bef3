"""What JobSet's controller does, as far as our launcher can see: one Job and one service a JobSet, whose end follows its Job's.

Names, labels, reasons and the order of events are those of kubernetes-sigs/jobset: the Job ends first, the JobSet says so a
moment later (`lag_seconds`), and one that failed keeps its failed Job. A suspended JobSet makes no pod until `admit`.
"""

import os
import threading
import time
from typing import Any

from local_pods import LocalPods, condition

Object = dict[str, Any]
NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"
LONGEST_POD_NAME = 63 - len("-abcde")


class LocalJobSets:
    """The controller; its state shares the lock of the Jobs'."""

    def __init__(self, pods: LocalPods, services: dict[str, Object]) -> None:
        self.jobsets: dict[str, Object] = {}
        self.is_installed = True
        self.suspends = False  # as Kueue's webhook does where a queue is named
        self.lag_seconds = 0.02
        self._pods, self._services = pods, services

    def add(self, jobset: Object) -> None:
        name = jobset["metadata"]["name"]
        (replicated,) = jobset["spec"]["replicatedJobs"]
        last = replicated["template"]["spec"]["completions"] - 1
        assert len(f"{name}-{replicated['name']}-0-{last}") <= LONGEST_POD_NAME, "JobSet name is too long"
        jobset["metadata"] |= {"uid": os.urandom(8).hex()}
        jobset["status"] = {"conditions": []}
        jobset["spec"]["suspend"] = self.suspends and "kueue.x-k8s.io/queue-name" in jobset["metadata"]["labels"]
        self.jobsets[name] = jobset
        self._pods.notify(jobset)
        if jobset["spec"]["suspend"]:
            jobset["status"]["conditions"].append(condition("Suspended", reason="SuspendedJobs", message="jobset is suspended"))
        else:
            self._begin(jobset)

    def admit(self, name: str) -> None:
        """What Kueue does once there is room."""
        with self._pods.changed:
            jobset = self.jobsets[name]
            jobset["spec"]["suspend"] = False
            jobset["status"]["conditions"][0]["status"] = "False"
            self._begin(jobset)
            self._pods.notify(jobset)

    def delete(self, name: str) -> None:
        """Foreground: the Job's pods, the Job, the service, then the JobSet."""
        jobset = self.jobsets[name]
        jobset["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
        self._pods.notify(jobset)
        if self.child(name) in self._pods.jobs:
            self._pods.delete(self.child(name))
        threading.Thread(target=self._finish_deletion, args=(name,), daemon=True).start()

    def child(self, name: str) -> str:
        return f"{name}-{self.jobsets[name]['spec']['replicatedJobs'][0]['name']}-0"

    def _begin(self, jobset: Object) -> None:
        name, (replicated,), network = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"], jobset["spec"]["network"]
        if network["enableDNSHostnames"]:
            service = {"clusterIP": "None", "selector": {NAME_LABEL: name}, "publishNotReadyAddresses": network["publishNotReadyAddresses"]}
            self._services[network["subdomain"]] = {"metadata": {"name": network["subdomain"]}, "spec": service}
        mark = {NAME_LABEL: name, "jobset.sigs.k8s.io/replicatedjob-name": replicated["name"], "jobset.sigs.k8s.io/job-index": "0"}
        template, spec = replicated["template"], replicated["template"]["spec"]
        pods = {**spec["template"], "metadata": {"labels": {**spec["template"]["metadata"]["labels"], **mark}}}
        pods["spec"] = {**pods["spec"], "subdomain": network["subdomain"]}
        child = {"metadata": {"name": self.child(name), "labels": {**template["metadata"]["labels"], **mark}}, "spec": {**spec, "template": pods, "suspend": False}}
        self._pods.add(child)
        threading.Thread(target=self._mirror, args=(jobset, child), daemon=True).start()

    def _mirror(self, jobset: Object, child: Object) -> None:
        """Wait for the Job's end and say it of the JobSet."""
        with self._pods.changed:
            while not (ended := [item["type"] for item in child["status"]["conditions"] if item["type"] in ("Complete", "Failed")]):
                if jobset["metadata"].get("deletionTimestamp"):
                    return
                self._pods.changed.wait(0.1)
        time.sleep(self.lag_seconds)
        assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 0  # otherwise the Job would be made again
        with self._pods.changed:
            if ended == ["Complete"]:
                told = condition("Completed", reason="AllJobsCompleted", message="jobset completed successfully")
            else:
                told = condition("Failed", reason="ReachedMaxRestarts", message=f"jobset failed due to reaching max number of restarts (first failed job: {child['metadata']['name']})")
            jobset["status"]["conditions"].append(told)
            self._pods.notify(jobset)

    def _finish_deletion(self, name: str) -> None:
        child = self.child(name)
        while child in self._pods.jobs:
            time.sleep(0.02)
        with self._pods.changed:
            jobset = self.jobsets.pop(name)
            self._services.pop(jobset["spec"]["network"]["subdomain"], None)
            self._pods.notify()
