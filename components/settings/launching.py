"""Settings of where stages run: in the run's own warm process, in several local processes, or as jobs of a cluster.

No stage's row of dvc.yaml names this section: where a stage runs never changes what it makes. What a cluster's pods are
stands in a file of the cluster (components/settings/cluster.py).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.settings.base import Section

BackendName = Literal["local", "torchrun", "kubernetes"]
ClusterJobKind = Literal["job", "jobset"]


class RetrySettings(Section):
    """How often a stage is tried again after an end that is not its own fault; each such end counts by itself."""

    preemptions: int = Field(default=20, ge=0, description="times one stage goes on after its pod was told to stop")
    infrastructure: int = Field(default=5, ge=0, description="times one stage is tried again after an eviction, a lost node, an image that could not be pulled")
    first_wait_seconds: float = Field(default=10.0, gt=0, description="seconds before the first of those tries; each further one waits twice as long")
    longest_wait_seconds: float = Field(default=600.0, gt=0, description="seconds, at most, before a try")


class ClusterSettings(Section):
    """The Kubernetes cluster that stages are sent to."""

    address: str = Field(default="", description="of the API server, such as kubectl proxy's http://127.0.0.1:8001; empty: the cluster this process is a pod of")
    namespace: str = Field(default="quarkmed-training", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    pods: Path = Field(default=Path("/etc/quarkmed/trainer-pods.yaml"), description="the file of pod settings; components/settings/cluster.py explains its keys")
    mount: Path = Field(default=Path("/project"), description="where this machine sees the volume that pods see at /project")
    kind: ClusterJobKind = Field(default="job", description="what a stage is submitted as; job: an Indexed Job and a headless Service; jobset: a JobSet of one such Job, where its controller is installed")
    nodes: int = Field(default=1, ge=1, le=1024, description="pods of a stage that trains on several processes; any other stage has one")
    look_seconds: float = Field(default=5.0, gt=0, le=300, description="seconds between two looks at a job and its pods, where no change is heard of before")
    outage_minutes: float = Field(default=60.0, gt=0, description="minutes the API server may not answer while a job runs, before its run gives up; the job goes on")
    queue_hours: float = Field(default=24.0, gt=0, description="hours a job may wait for its queue or for a node")
    start_minutes: float = Field(default=20.0, gt=0, description="minutes a pod that has a node may take to start: its image, its volumes")
    lost_minutes: float = Field(default=10.0, gt=0, description="minutes, beyond its grace, that a pod may take to end, before its node counts as lost")


class LaunchSettings(Section):
    """Where stages run; never changes a result."""

    backend: BackendName = Field(
        default="local", description="local: the run's warm process; torchrun: several processes of this machine, for stages that can; kubernetes: a job of the cluster"
    )
    stages: dict[str, BackendName] = Field(default={}, description="stage: backend, for stages that run elsewhere than `backend` says")
    processes: int = Field(default=2, ge=1, le=1024, description="torchrun: processes of one stage on this machine")
    budget_gpu_hours: float | None = Field(default=None, gt=0, description="GPU-hours of pods one run may spend; at the limit no further stage starts; null: no limit")
    retry: RetrySettings = Field(default_factory=RetrySettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)

    def backend_of(self, stage: str) -> BackendName:
        """Return the backend of a stage."""
        return self.stages.get(stage, self.backend)

    def uses(self, backend: BackendName) -> bool:
        """Say whether any stage may run on a backend."""
        return backend == self.backend or backend in self.stages.values()
