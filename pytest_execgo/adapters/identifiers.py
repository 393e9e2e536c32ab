"""Ids that a plan can't keep, made ones that it can; dependencies and bindings follow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.view import listed

LONGEST = 120
_ODD = re.compile(r"[^\w.:\-]+")


def mend_ids(plan: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the plan with ids of letters, digits, `_`, `-`, `.` and `:`, at most 120 of them; missing ones are made up.

    An id that two tasks share is nobody's to rename: it stays, and is found by the plan's checks.
    """
    if not isinstance(plan.get("stages"), list):
        return plan
    stages = [dict(stage) if isinstance(stage, Mapping) else stage for stage in plan["stages"]]
    _rename([(f"$.stages[{i}]", stage) for i, stage in enumerate(stages) if isinstance(stage, dict)], "stage_id", "stage", warnings)
    tasks = list(_tasks(stages))
    renamed = _rename(tasks, "id", "task", warnings)
    if renamed:
        for stage in filter(_is_object, stages):
            _follow(stage, renamed)
    return {**plan, "stages": stages}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _tasks(stages: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each task object, as a copy that is put in its place, with its path."""
    for i, stage in enumerate(stages):
        graph = stage.get("task_graph") if isinstance(stage, dict) else None
        if isinstance(graph, Mapping) and isinstance(graph.get("tasks"), list):
            tasks = [dict(task) if isinstance(task, Mapping) else task for task in graph["tasks"]]
            stage["task_graph"] = {**graph, "tasks": tasks}
            yield from ((f"$.stages[{i}].task_graph.tasks[{n}]", task) for n, task in enumerate(tasks) if isinstance(task, dict))


def _rename(things: list[tuple[str, dict[str, Any]]], field: str, what: str, warnings: list[str]) -> dict[str, str]:
    """Give each thing an id that it can keep; return the new ids by the old ones (as text)."""
    counts = Counter(str(thing[field]) for _, thing in things if _nameable(thing.get(field)))
    taken = {thing[field] for _, thing in things if isinstance(thing.get(field), str) and _keeps(thing[field])}
    renamed: dict[str, str] = {}
    for number, (where, thing) in enumerate(things, 1):
        old = thing.get(field)
        missing = old is None or (isinstance(old, str) and not old.strip())
        if not missing and (not _nameable(old) or (isinstance(old, str) and _keeps(old)) or counts[str(old)] > 1):
            continue
        wanted = f"{what}-{number}" if missing else _ODD.sub("-", str(old)).strip("-")[:LONGEST] or f"{what}-{number}"
        new = _free(wanted, taken)
        taken.add(new)
        thing[field] = new
        found = "missing" if field not in thing or old is None else describe(old)
        warnings.append(f"{where}.{field}: {found} became {new!r}")
        if not missing:
            renamed[str(old)] = new
    return renamed


def _nameable(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _keeps(name: str) -> bool:
    return len(name) <= LONGEST and not _ODD.search(name)


def _free(wanted: str, taken: set[Any]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted[: LONGEST - 6]}-{number}"
    return name


def _follow(stage: dict[str, Any], renamed: Mapping[str, str]) -> None:
    """Write the new ids wherever a stage speaks of tasks."""

    def new(name: Any) -> Any:
        return renamed.get(str(name), name) if _nameable(name) else name

    graph = stage.get("task_graph")
    for task in listed(graph.get("tasks") if isinstance(graph, Mapping) else None):
        if isinstance(task, dict) and isinstance(task.get("depends_on"), list):
            task["depends_on"] = [new(name) for name in task["depends_on"]]
    ends = ("source_task_id", "target_task_id")
    if isinstance(stage.get("bindings"), list):
        stage["bindings"] = [
            {**binding, **{name: new(binding[name]) for name in ends if name in binding}}
            if isinstance(binding, Mapping)
            else binding
            for binding in stage["bindings"]
        ]
