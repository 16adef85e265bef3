"""What a task is: a way to draw questions from the knowledge base, the templates that word them, and who judges.

Templates are unique to a task (the report's instruction generalisation, §3.1): `train_templates` word every split,
`held_out_templates` only part of validation and test.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from components.cases.case import Case, Passage, Split, Suite
from components.cases.world import World
from components.conversations import Message
from components.lineage import digest_value

Dimension = Literal["comprehension", "generation", "knowledge_application", "analysis"]
HELD_OUT_TEMPLATE_SHARE = 0.3


@dataclass(frozen=True)
class Draft:
    """A drawn question before it is worded: what fills the template, and what judges the answer."""

    combination: str
    entities: tuple[str, ...]
    fields: dict[str, str]
    answer: str
    reference: dict[str, Any]
    options: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    source_ids: tuple[str, ...] = ()
    record_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One atomic task.

    Attributes:
        draw: draws a random question, or None where the draw came to nothing.
        level: curriculum: 1 atomic, 2 applied, 3 composite.
    """

    name: str
    suite: Suite
    dimension: Dimension
    level: int
    verifier: str
    draw: Callable[[World, Random], Draft | None] = field(repr=False)
    train_templates: tuple[str, ...]
    held_out_templates: tuple[str, ...]

    @property
    def group(self) -> str:
        """Task group of the mixture search: the dimension."""
        return self.dimension


def word_case(task: Task, draft: Draft, split: Split, random: Random) -> Case:
    """Word a draft through one of the task's templates and make its case."""
    is_held_out = split != "train" and random.random() < HELD_OUT_TEMPLATE_SHARE
    templates = task.held_out_templates if is_held_out else task.train_templates
    number = random.randrange(len(templates))
    text = templates[number].format(**draft.fields)
    return Case(
        id=f"{task.name}-{digest_value([task.name, text, draft.answer])[:12]}",
        split=split,
        suite=task.suite,
        task=task.name,
        group=task.group,
        level=task.level,
        cluster=draft.entities[0],
        entities=draft.entities,
        combination=draft.combination,
        template=f"{task.name}/{'held-out' if is_held_out else 'train'}-{number}",
        messages=(Message(role="user", content=text),),
        answer=draft.answer,
        verifier=task.verifier,
        reference=draft.reference,
        options=draft.options,
        passages=draft.passages,
        source_ids=draft.source_ids,
        record_ids=draft.record_ids,
    )
