"""Settings of the run itself: seed, threads, folders."""

import re

from pydantic import Field, ValidationInfo, field_validator

from components.settings.base import Section

STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/]+)*/?|[^:]+")
DATABASES = {"prefect_database": "postgresql+asyncpg://", "mlflow_database": "postgresql://"}
WITH_PASSWORD = re.compile(r"://[^/@:]*:[^@]*@|[?&]password=")


class RunSettings(Section):
    """What every stage shares."""

    seed: int = Field(default=20, ge=0)
    threads: int = Field(default=2, ge=1, description="torch threads; fixed, because results depend on it")


class SystemSettings(Section):
    """Where things lie and listen; never changes a result."""

    store: str = Field(default="var/store", description="the artifact store: a folder, or s3://bucket/prefix (endpoint and credentials by AWS_* variables or a profile)")
    prefect_database: str = Field(default="", description="postgresql+asyncpg://user@host:port/name for Prefect's server; empty: a file under var/")
    mlflow_database: str = Field(default="", description="postgresql://user@host:port/name for MLflow and the promotion journal; empty: files under var/")
    model_name: str = Field(default="quarkmed", description="name in the model registry")
    prefect_port: int = Field(default=4217, ge=1024, le=65535)
    mlflow_port: int = Field(default=5217, ge=1024, le=65535)
    metrics_port: int = Field(default=9217, ge=0, le=65535, description="of the page for Prometheus that `quarkmed up` serves; 0: not started")
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

    @field_validator("store")
    @classmethod
    def _names_a_place(cls, value: str) -> str:
        if not STORE.fullmatch(value):
            raise ValueError("must be a folder, or an object store as s3://bucket/prefix")
        return value

    @field_validator("prefect_database", "mlflow_database")
    @classmethod
    def _names_a_database(cls, value: str, info: ValidationInfo) -> str:
        start = DATABASES[str(info.field_name)]
        if value and not value.startswith(start):
            raise ValueError(f"must begin with {start}, or be empty")
        if WITH_PASSWORD.search(value):
            raise ValueError("must hold no password: put it into ~/.pgpass (or the file PGPASSFILE names), or into PGPASSWORD")
        return value
