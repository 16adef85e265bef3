"""What may be asked of a `retrain`: the form of the Prefect page and the options of the command line.

What JSON Schema can say (lists of choices, patterns, ranges) the server refuses before a run exists; the rest is checked
before the first stage, against the settings of the asked revision.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from components.pipeline.stages import STAGES

PROFILES = ("laptop", "single-gpu", "tiny")  # laptop: params.yaml as it stands; the others: infra/profiles/<name>.yaml
NO_STAGE = "none"
OVERRIDE = r"^\s*[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\s*=.*$"
REVISION = r"^([^\s:?*\[\\-][^\s:?*\[\\]*)?$"

Profile = Literal["laptop", "single-gpu", "tiny"]
FromStage = Literal[("none", *STAGES)]  # type: ignore[valid-type]
Promote = Literal["never", "ask", "auto"]
Override = Annotated[str, StringConstraints(pattern=OVERRIDE, max_length=2000)]


class RetrainRequest(BaseModel):
    """Bring every stage up to date in a workspace of its own, compare the model with the champion, settle the promotion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Profile = Field(default="laptop", title="Profile", description="Scale and backends: laptop is params.yaml as it stands, any other lays infra/profiles/NAME.yaml over it.")
    revision: str = Field(
        default="HEAD", pattern=REVISION, max_length=200, title="Revision", description="Branch, tag or commit of the project: the code of the stages, the settings and the data that the run takes."
    )
    data_revision: str = Field(
        default="", pattern=REVISION, max_length=200, title="Data revision", description="Branch, tag or commit whose data/ the run takes instead; empty: that of the revision above."
    )
    from_stage: FromStage = Field(
        default=NO_STAGE, title="Run anew from", description="This stage, and all that its outputs lead to, runs although nothing changed; none: only what changed."
    )
    overrides: list[Override] = Field(
        default=[], max_length=100, title="Overrides", description="Values laid over params.yaml, one key=value an entry, for example ift.steps=400. An unknown key fails the run before its first stage."
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Only make the plan: which stages would run, why, and how long they took last time.")
    budget_gpu_hours: float = Field(
        default=0.0, ge=0, le=1_000_000, title="Budget, GPU-hours", description="GPU-hours this run may spend; at the limit no further stage starts. 0: no limit of its own."
    )
    promote: Promote = Field(
        default="ask", title="Promotion", description="Of a model that passes the gate. never: it is held; ask: a person decides by a form; auto: it becomes champion."
    )

    @property
    def first_anew(self) -> str | None:
        """The stage to run anew from, or None."""
        return None if self.from_stage == NO_STAGE else str(self.from_stage)

    def operational(self) -> dict[str, Any]:
        """Return {dotted key: value} of what changes no result: who promotes, what may be spent."""
        values: dict[str, Any] = {"system.promote": self.promote}
        if self.budget_gpu_hours:
            values["launch.budget_gpu_hours"] = self.budget_gpu_hours
        return values
