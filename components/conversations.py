"""Messages, samples and preference pairs: what supervised and preference tuning read."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Sample(BaseModel):
    """A conversation to be tuned on: loss on every assistant turn, through the model's chat template."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    task: str
    group: str = Field(description="task group of the mixture search")
    level: int = Field(default=1, ge=1, le=3, description="curriculum: 1 atomic, 2 applied, 3 composite")
    messages: tuple[Message, ...]
    case_id: str | None = None
    source_ids: tuple[str, ...] = ()
    record_ids: tuple[str, ...] = ()


class PreferencePair(BaseModel):
    """Two answers to one prompt, the first preferred, for a Bradley–Terry reward model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    dimension: Literal["honesty", "helpfulness"]
    messages: tuple[Message, ...] = Field(description="the prompt: ends with a user turn")
    chosen: str
    rejected: str
    margin: float = Field(default=0.0, ge=0, description="how much better, in oracle score")
    cluster: str = ""
