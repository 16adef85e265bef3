"""A case: one question with what is needed to judge any answer to it, and the split it belongs to.

Cases are made once, by `holdout`, and every later set (samples, prompts, suites) is drawn from the cases of its split.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.conversations import Message

Split = Literal["train", "validation", "test"]
Suite = Literal["probes", "exam", "verified", "ability", "grounded", "preference", "safety"]


class Passage(BaseModel):
    """A retrieved passage as it stands in a prompt, cited by its number [1], [2], …"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document_id: str
    text: str
    authority: str
    is_relevant: bool


class Case(BaseModel):
    """One question, its gold answer and its verifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    split: Split
    suite: Suite
    task: str
    group: str = Field(description="task group of the mixture search")
    level: int = Field(default=1, ge=1, le=3)
    cluster: str = Field(description="primary knowledge-base id: the unit of the clustered bootstrap")
    entities: tuple[str, ...]
    combination: str = Field(description="what the split is made by: task-independent facts combined in the question")
    template: str = Field(description="id of the prompt template")
    messages: tuple[Message, ...] = Field(description="ends with a user turn")
    answer: str = Field(description="a full-mark answer, in the form the task asks for")
    verifier: str = Field(description="key of components/rewards/verifiers")
    reference: dict[str, Any] = Field(default_factory=dict, description="what the verifier reads")
    options: tuple[str, ...] = Field(default=(), description="for likelihood scoring: first is gold")
    passages: tuple[Passage, ...] = ()
    source_ids: tuple[str, ...] = ()
    record_ids: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The last user turn."""
        return self.messages[-1].content
