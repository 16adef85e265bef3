"""The examination suite: four levels × single, multiple response, shared stem, case analysis (the report's CPQExam).

    junior             recall of a named disease's features
    intermediate       recall of its drugs, tests and complications
    associate_senior   the disease is to be inferred from a stem
    senior             the code, or the drug for a stem's disease

Departure: options are named by their text. With or without retrieval is evaluation's doing.
"""

from collections.abc import Callable
from random import Random

from components.cases.splitting import combination_of
from components.cases.task import Draft, Task
from components.cases.tasks.presentation import draw_presentation
from components.cases.tasks.questions import ONE, TWO, choice_draft, draw_right
from components.cases.wording import joined
from components.cases.world import World

LEVELS = ("junior", "intermediate", "associate_senior", "senior")
TYPES = ("single", "multiple_response", "shared_stem", "case_analysis")
_NAMED_KINDS = {
    "junior": ("symptom", "finding", "risk factor", "department"),
    "intermediate": ("drug", "test", "complication"),
}
_INFERRED_KINDS = {"associate_senior": ("disease", "department", "test"), "senior": ("drug", "code", "complication")}
_CURRICULUM = {"junior": 1, "intermediate": 2, "associate_senior": 3, "senior": 3}


def draw_exam(level: str, kind_of_question: str) -> Callable[[World, Random], Draft | None]:
    """Return the draw function of one level and type."""

    def draw(world: World, random: Random) -> Draft | None:
        right_count = 2 if kind_of_question == "multiple_response" else 1
        is_named = level in _NAMED_KINDS
        kinds = [kind for kind in (_NAMED_KINDS if is_named else _INFERRED_KINDS)[level] if right_count == 1 or kind in TWO]
        drawn = draw_presentation(world, random, counts=(4,) if kind_of_question == "case_analysis" else (3,))
        if drawn is None:
            return None
        kind = random.choice(kinds)
        right = draw_right(world, drawn.disease, kind, right_count, random)
        has_stem = not is_named or kind_of_question in ("shared_stem", "case_analysis")
        if right is None or (has_stem and set(right) & set(drawn.features)):
            return None
        stem = _stem(kind_of_question, drawn.fields, drawn.features) if has_stem else ""
        subject = drawn.disease.name if is_named else "this patient"
        asked = (ONE if right_count == 1 else TWO)[kind].format(subject=subject)
        combination = drawn.combination if has_stem else combination_of(drawn.disease.id, kind.replace(" ", "_"), *right)
        extra = {"level": level, "type": kind_of_question}
        fields = {"stem": f"{stem} " if stem else ""}
        return choice_draft(world, drawn.disease, kind, right, random, asked=asked, combination=combination, fields=fields, extra=extra)

    return draw


def _stem(kind_of_question: str, fields: dict[str, str], features: tuple[str, ...]) -> str:
    if kind_of_question == "case_analysis":
        return f"Case: {fields['patient']}. Shows: {'; '.join(features)}."
    return f"{fields['A_patient']} has {joined(features)}."


def _task(level: str, kind_of_question: str) -> Task:
    label = f"{level} {kind_of_question}".replace("_", " ")
    return Task(
        name=f"exam_{level}_{kind_of_question}",
        suite="exam",
        dimension="knowledge_application",
        level=_CURRICULUM[level],
        verifier="exam_answer",
        draw=draw_exam(level, kind_of_question),
        train_templates=(
            f"[{label}] {{stem}}{{question}} Options: {{options}}",
            f"{{stem}}{{question}} ({label}) Options: {{options}}",
            f"Exam, {label}: {{stem}}{{question}} Options: {{options}}",
        ),
        held_out_templates=(f"Paper: {label}. {{stem}}{{question}} Options: {{options}}",),
    )


EXAM_TASKS = tuple(_task(level, kind_of_question) for level in LEVELS for kind_of_question in TYPES)
