"""Settings of the object store, where `system.store` is an address s3://bucket/prefix. They never change a result.

Its endpoint and credentials come from the AWS_* variables or a profile, never from here.
"""

from pydantic import Field

from components.settings.base import Section


class ObjectStoreSettings(Section):
    """How requests to the object store are made."""

    part_mib: int = Field(default=64, ge=5, le=5120, description="MiB a part: larger files are sent in parts")
    connections: int = Field(default=4, ge=1, le=64, description="parts of a file sent at once, or files read at once")
    attempts: int = Field(default=6, ge=1, le=20, description="tries of a request, waiting longer each time (at most 20 s), before the run ends with a message")
    connect_seconds: float = Field(default=10.0, gt=0, description="seconds until a connection that is not made counts as failed")
    read_seconds: float = Field(default=60.0, gt=0, description="seconds without a byte until an answer counts as failed")
