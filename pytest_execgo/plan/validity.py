"""How much of a plan is valid: a share, for the metric `plan_validity`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_execgo.plan.problems import Problem
from pytest_execgo.plan.view import listed


def validity_of(document: Any, problems: Iterable[Problem]) -> float:
    """Return the share (0 to 1) of a plan document's parts in which nothing is wrong.

    Its parts are the document itself, its stages, their tasks and their bindings; a problem counts against the innermost
    part that it lies in, and each part once.
    """
    parts = {"$"}
    for index, stage in enumerate(listed(document.get("stages") if isinstance(document, dict) else None)):
        where = f"$.stages[{index}]"
        parts.add(where)
        if isinstance(stage, dict):
            graph = stage.get("task_graph")
            tasks = listed(graph.get("tasks") if isinstance(graph, dict) else None)
            parts |= {f"{where}.task_graph.tasks[{number}]" for number in range(len(tasks))}
            parts |= {f"{where}.bindings[{number}]" for number in range(len(listed(stage.get("bindings"))))}
    wrong = {max((part for part in parts if _within(problem.path, part)), key=len) for problem in problems}
    return 1 - len(wrong) / len(parts)


def _within(path: str, part: str) -> bool:
    return part == "$" or (path.startswith(part) and path[len(part) : len(part) + 1] in ("", ".", "["))
