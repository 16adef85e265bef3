"""What a training pod is on one cluster: image, size, where it may run, which queue it waits in.

Not a part of params.yaml: it never changes a result. A cluster's operator keeps it as a ConfigMap
(infra/kubernetes/base/trainer-pods.yaml); the worker reads it from the file that is mounted.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from components.errors import SettingsError
from components.settings.base import Section
from components.settings.explaining import explain_problems
from components.settings.settings import read_yaml

PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}|[^\s@]+:(?!latest$)[\w][\w.-]{0,127}")


class Toleration(Section):
    """A taint of a node that a training pod tolerates."""

    key: str = Field(min_length=1)
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class TrainerPodSettings(Section):
    """One pod of a training job; a job has as many as it has nodes, all equal."""

    image: str = Field(description="with a tag other than latest, or a digest")
    cpus: int = Field(ge=1, le=1024, description="cores, asked for and at most")
    memory_gibibytes: int = Field(ge=1, le=65_536, description="2³⁰ bytes, asked for and at most, shared memory among them")
    shared_memory_gibibytes: int = Field(default=1, ge=1, le=65_536, description="2³⁰ bytes of /dev/shm: NCCL and loaders exchange data there")
    scratch_gibibytes: int = Field(default=10, ge=1, le=65_536, description="2³⁰ bytes of the node's disk, for temporary files")
    gpus: int = Field(default=0, ge=0, le=72, description="a pod; 0: one process on its processors")
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[a-zA-Z0-9._-]+$", description="the name the device plug-in gives them")
    node_selector: dict[str, str] = Field(default={}, description="labels a node must have")
    tolerations: tuple[Toleration, ...] = ()
    queue: str = Field(default="", max_length=63, description="the LocalQueue of Kueue that admits the job; empty: no Kueue")
    project_claim: str = Field(default="project", min_length=1, description="the volume claim (ReadWriteMany) that holds the project's folder")
    environment_map: str = Field(default="trainer-environment", min_length=1, description="the ConfigMap of a pod's variables")
    store_secret: str = Field(default="object-store", min_length=1, description="the Secret with the object store's keys, as variables")
    service_account: str = Field(default="trainer", min_length=1, description="one without rights; its token is not mounted")
    deadline_hours: float = Field(default=72.0, gt=0, le=24 * 90, description="hours a job may run before the cluster ends it")
    keep_hours: float = Field(default=24.0, gt=0, le=24 * 90, description="hours an ended job is kept, for its end to be read")

    @field_validator("image")
    @classmethod
    def _is_pinned(cls, image: str) -> str:
        if not PINNED.fullmatch(image):
            raise ValueError(f"{image!r} names no version; give a tag other than latest, or a digest")
        return image

    @model_validator(mode="after")
    def _memory_holds_what_is_shared(self) -> "TrainerPodSettings":
        if self.shared_memory_gibibytes >= self.memory_gibibytes:
            raise ValueError(f"shared_memory_gibibytes ({self.shared_memory_gibibytes}) counts against memory_gibibytes ({self.memory_gibibytes}) and must be below it")
        return self

    @property
    def processes(self) -> int:
        """Processes a pod: one a GPU, one where there is none."""
        return max(self.gpus, 1)


def load_trainer_pods(path: Path) -> TrainerPodSettings:
    """Read a cluster's YAML file of pod settings.

    Raises:
        SettingsError: file missing, not YAML, or a key unknown (with the nearest right one), missing or out of range.
    """
    try:
        return TrainerPodSettings.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SettingsError(explain_problems(error, path, TrainerPodSettings)) from None
