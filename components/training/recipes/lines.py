"""The JSON-lines files of recipes: prompts with columns, conversations, preference pairs. Errors start with file:line.

    prompts         {"prompt": text} or {"messages": [...]}, then "id", "task" and columns as you like, for the reward
    conversations   {"messages": [...]} with an assistant's turn, then "id", "task", "group", "level"
    pairs           {"prompt" or "messages", "chosen", "rejected"}, then "id", "margin", "cluster"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.conversations import Message, PreferencePair, Sample
from components.documents import read_numbered_lines
from components.errors import DataError

TASK = "recipe"  # of lines that name none
PROMPTS = "prompts"  # the argument that holds the conversations
RESERVED = ("completions", PROMPTS)  # what a reward function is given besides columns


@dataclass(frozen=True)
class PromptLine:
    """One prompt: the conversation to be answered, and the line's other keys."""

    id: str
    task: str
    messages: tuple[Message, ...]
    where: str  # file:line
    columns: Mapping[str, Any] = field(default_factory=dict)


class _Asked(BaseModel):
    """What prompts and pairs share: `prompt`, or `messages` that end with the user's turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, min_length=1)
    prompt: str | None = Field(default=None, min_length=1)
    messages: tuple[Message, ...] | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> "_Asked":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError('give either "prompt" or "messages"')
        if self.messages is not None and (not self.messages or self.messages[-1].role != "user"):
            raise ValueError('"messages" must end with a turn of the user, which is what is answered')
        return self

    @property
    def conversation(self) -> tuple[Message, ...]:
        return self.messages or (Message(role="user", content=self.prompt or ""),)


class _Prompt(_Asked):
    model_config = ConfigDict(frozen=True, extra="allow")

    task: str = Field(default=TASK, pattern=r"^[^/\s]+$")


class _Conversation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, min_length=1)
    messages: tuple[Message, ...]
    task: str = TASK
    group: str = ""
    level: int = Field(default=1, ge=1, le=3)

    @model_validator(mode="after")
    def _teaches(self) -> "_Conversation":
        if not any(message.role == "assistant" for message in self.messages):
            raise ValueError('"messages" holds no turn of the assistant, so there is nothing to learn')
        return self


class _Pair(_Asked):
    chosen: str
    rejected: str
    margin: float = Field(default=0.0, ge=0)
    cluster: str = ""

    @model_validator(mode="after")
    def _differs(self) -> "_Pair":
        if self.chosen == self.rejected:
            raise ValueError('"chosen" and "rejected" are the same text')
        return self


def read_prompts(path: Path) -> list[PromptLine]:
    """Read prompts; a line without "id" is named by its number.

    Raises:
        DataError: the file is missing or empty, a line is malformed, or two lines have one id; starts with file:line.
    """
    lines = []
    for number, item in _read(path, _Prompt):
        columns = dict(item.model_extra or {})
        reserved = next((name for name in columns if name in RESERVED or not name.isidentifier()), None)
        if reserved is not None:
            raise DataError(f"{path}:{number}: {reserved!r} cannot be a column: columns are handed to the reward function by name; rename it")
        columns |= {"id": item.id or f"line-{number}", "task": item.task}
        lines.append(PromptLine(columns["id"], item.task, item.conversation, f"{path}:{number}", columns))
    _refuse_doubles([(line.where, line.id) for line in lines])
    return lines


def read_conversations(path: Path) -> list[Sample]:
    """Read conversations to be tuned on.

    Raises:
        DataError: as `read_prompts`.
    """
    read = _read(path, _Conversation)
    samples = [
        Sample(id=item.id or f"line-{number}", task=item.task, group=item.group, level=item.level, messages=item.messages) for number, item in read
    ]
    _refuse_doubles([(f"{path}:{number}", sample.id) for (number, _), sample in zip(read, samples, strict=True)])
    return samples


def read_pairs(path: Path) -> list[PreferencePair]:
    """Read preference pairs.

    Raises:
        DataError: as `read_prompts`.
    """
    read = _read(path, _Pair)
    pairs = [
        PreferencePair(
            id=item.id or f"line-{number}", dimension="helpfulness", messages=item.conversation, chosen=item.chosen,
            rejected=item.rejected, margin=item.margin, cluster=item.cluster or item.id or f"line-{number}",
        )
        for number, item in read
    ]  # fmt: skip
    _refuse_doubles([(f"{path}:{number}", pair.id) for (number, _), pair in zip(read, pairs, strict=True)])
    return pairs


def _read(path: Path, model: Any) -> list[tuple[int, Any]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; mend the recipe (paths are relative to its folder)")
    items = []
    for number, value in read_numbered_lines(path):
        try:
            items.append((number, model.model_validate(value)))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                reason = f"unknown key; known keys: {', '.join(sorted(model.model_fields))}"
            raise DataError(f"{path}:{number}: {f'{key}: ' if key else ''}{reason}; mend or remove the line") from None
    if not items:
        raise DataError(f"{path}:1: the file holds no line; give it one JSON object a line")
    return items


def _refuse_doubles(named: list[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for where, identifier in named:
        if identifier in first:
            raise DataError(f"{where}: the id {identifier!r} stands in {first[identifier]} already; ids name lines, so they must differ")
        first[identifier] = where
