"""Settings of the run itself: seed, threads, folders."""

from pydantic import Field

from components.settings.base import Section


class RunSettings(Section):
    """What every stage shares."""

    seed: int = Field(default=20, ge=0)
    threads: int = Field(default=2, ge=1, description="torch threads; fixed, because results depend on it")


class SystemSettings(Section):
    """Where things lie and listen; never changes a result."""

    store: str = Field(default="var/store", description="folder of the artifact store")
    model_name: str = Field(default="quarkmed", description="name in the model registry")
    prefect_port: int = Field(default=4217, ge=1024, le=65535)
    mlflow_port: int = Field(default=5217, ge=1024, le=65535)
    grace_seconds: float = Field(
        default=20.0, gt=0, description="seconds a step and its checkpoint may take once the run is told to stop; below what the machine's own grace leaves (Kubernetes: 30)"
    )
    sample_seconds: float = Field(default=5.0, ge=0, description="seconds between samples of memory, processor, GPU and energy while a stage runs; 0: none")
    kept_runs: int = Field(default=50, ge=1, description="runs whose folder stays whole; of older ones the logs go, and all of those that never finished")
    kept_logs_mib: float = Field(default=1024.0, gt=0, description="MiB the logs of all runs may take; the oldest go first")
    promote: str = Field(default="auto", pattern="^(auto|ask|never)$", description="auto: the gate decides; ask: a person, of what passed the gate; never: nobody")
    kept_workspaces: int = Field(default=5, ge=0, description="workspaces of runs that failed or were killed, kept to go on in; older ones are swept")
    kept_workspace_days: float = Field(default=7.0, ge=0, description="days such a workspace is kept after it was last worked in")
    runs_at_once: int = Field(default=4, ge=1, le=64, description="flow runs that `quarkmed up` runs side by side; of retrain at most the deployment's own limit")
