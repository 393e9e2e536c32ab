"""A plan document as far as it is well-formed: what the checks that need no complete plan look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task object. `id` is None unless it is text; `stage` is the index of its stage, `path` its JSONPath."""

    path: str
    stage: int
    id: str | None
    raw: dict[str, Any]

    def dependencies(self) -> Iterator[tuple[str, str]]:
        """Yield place and name of each dependency that is text."""
        for index, name in enumerate(listed(self.raw.get("depends_on"))):
            if isinstance(name, str):
                yield f"{self.path}.depends_on[{index}]", name


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage object, with the tasks in it that are objects."""

    path: str
    index: int
    id: str | None
    raw: dict[str, Any]
    tasks: list[TaskView] = field(default_factory=list)

    @property
    def label(self) -> str:
        """How a message calls the stage."""
        return repr(self.id) if self.id else f"number {self.index + 1}"


@dataclass(frozen=True, slots=True)
class PlanView:
    """The stages that are objects; `tasks` finds a task by its id (the first, where several share one)."""

    stages: list[StageView]
    tasks: dict[str, TaskView]
    by_index: dict[int, StageView]

    def stage_of(self, task: TaskView) -> StageView:
        """Return the stage that holds a task."""
        return self.by_index[task.stage]


def view_plan(document: Any) -> PlanView:
    """Pick out of a document what has the shape of stages and tasks."""
    stages = []
    by_id: dict[str, TaskView] = {}
    for index, raw in enumerate(listed(document.get("stages") if isinstance(document, dict) else None)):
        if not isinstance(raw, dict):
            continue
        stage = StageView(f"$.stages[{index}]", index, _text(raw.get("stage_id")), raw)
        graph = raw.get("task_graph")
        for position, task in enumerate(listed(graph.get("tasks") if isinstance(graph, dict) else None)):
            if isinstance(task, dict):
                found = TaskView(f"{stage.path}.task_graph.tasks[{position}]", index, _text(task.get("id")), task)
                stage.tasks.append(found)
                if found.id is not None:
                    by_id.setdefault(found.id, found)
        stages.append(stage)
    return PlanView(stages, by_id, {stage.index: stage for stage in stages})


def listed(value: Any) -> list[Any]:
    """Return a value that is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
