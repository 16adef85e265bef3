"""The one table of tasks. A new task is one entry here and a draw function in `tasks/`; room for 112 and more."""

from components.cases.task import Task
from components.cases.tasks.analysis import ANALYSIS_TASKS
from components.cases.tasks.comprehension import COMPREHENSION_TASKS
from components.cases.tasks.exam import EXAM_TASKS
from components.cases.tasks.generation import GENERATION_TASKS
from components.cases.tasks.grounded import GROUNDED_TASK
from components.cases.tasks.knowledge_application import KNOWLEDGE_TASKS
from components.cases.tasks.preference import PREFERENCE_TASKS
from components.cases.tasks.probes import PROBE_TASKS
from components.cases.tasks.safety import SAFETY_TASKS
from components.cases.tasks.verified import VERIFIED_TASKS

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *COMPREHENSION_TASKS,
        *GENERATION_TASKS,
        *KNOWLEDGE_TASKS,
        *ANALYSIS_TASKS,
        *VERIFIED_TASKS,
        *EXAM_TASKS,
        *PROBE_TASKS,
        GROUNDED_TASK,
        *PREFERENCE_TASKS,
        *SAFETY_TASKS,
    )
}


def tasks_of(suite: str) -> list[Task]:
    """Return the tasks of a suite, in the table's order."""
    return [task for task in TASKS.values() if task.suite == suite]
