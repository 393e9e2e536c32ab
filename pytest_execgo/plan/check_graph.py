"""Checks of names and order: ids, dependencies, cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from pytest_execgo.core.jsonvalue import parent_path, shortened, shown
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.view import PlanView, StageView

Graph = dict[str, list[str]]
"""Task ids to the ids that they depend on."""

_EXHAUSTIVE = 64  # tasks in a knot up to which the shortest of all its cycles is searched
_SHOWN = 12  # tasks of a cycle that a message names


def check_ids(plan: PlanView) -> Iterator[Problem]:
    """Find stage ids and task ids that are blank or taken; task ids are unique across the whole plan."""
    yield from _repeated("stage", ((f"{stage.path}.stage_id", stage.id) for stage in plan.stages))
    yield from _repeated("task", ((f"{task.path}.id", task.id) for stage in plan.stages for task in stage.tasks))


def _repeated(what: str, named: Iterable[tuple[str, str | None]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, name in named:
        if name is None or name == "":  # told as a problem of shape
            continue
        if not name.strip():
            yield Problem(path, "blank_id", f"the {what} id is blank; allowed: text that names the {what}")
        elif name in first:
            holder = parent_path(first[name])
            yield Problem(path, f"duplicate_{what}_id", f"{what} id {shortened(name, 80)!r} is taken by {holder}")
        else:
            first[name] = path


def check_dependencies(plan: PlanView, suggest: Suggester) -> Iterator[Problem]:
    """Find dependencies on nothing, on the task itself, on tasks of other stages, and every knot of cycles once."""
    for stage in plan.stages:
        local = {task.id: None for task in stage.tasks if task.id}
        for task in stage.tasks:
            for path, name in task.dependencies():
                if name == task.id:
                    yield Problem(path, "self_dependency", f"task {shortened(name, 80)!r} depends on itself")
                elif name not in local:
                    yield _unknown(plan, path, name, local, suggest)
        yield from _cycles(stage)


def _unknown(plan: PlanView, path: str, name: str, local: Collection[str], suggest: Suggester) -> Problem:
    elsewhere = plan.tasks.get(name)
    if elsewhere is None:
        return Problem(path, "unknown_dependency", suggest.unknown("task", name, local))
    return Problem(
        path,
        "unknown_dependency",
        f"task {shortened(name, 80)!r} belongs to stage {plan.stage_of(elsewhere).label}; depends_on takes tasks of the same stage "
        "(stages run in order by themselves, a binding carries a value)",
    )


def _cycles(stage: StageView) -> Iterator[Problem]:
    graph: Graph = {}
    for task in stage.tasks:
        if task.id is not None:
            graph.setdefault(task.id, [name for _, name in task.dependencies() if name != task.id])
    graph = {name: [other for other in others if other in graph] for name, others in graph.items()}
    paths = {task.id: task.path for task in reversed(stage.tasks) if task.id is not None}
    for knot in knots(graph):
        cycle = shortest_cycle(graph, knot)
        names = [shown(name, 60) for name in cycle]
        if len(names) > _SHOWN:
            names[_SHOWN - 1 : -1] = [f"… ({len(names) - _SHOWN} more)"]
        text = " -> ".join([*names, names[0]])
        yield Problem(f"{paths[cycle[0]]}.depends_on", "cycle", f"tasks wait for each other (-> is 'depends on'): {text}")


def knots(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components of two or more tasks, each in the graph's order (Kosaraju, without recursion)."""
    finished: list[str] = []
    visited: set[str] = set()
    for root in graph:
        stack = [(root, iter(graph[root]))] if root not in visited else []
        visited.add(root)
        while stack:
            name, rest = stack[-1]
            following = next((other for other in rest if other not in visited), None)
            if following is None:
                finished.append(name)
                stack.pop()
            else:
                visited.add(following)
                stack.append((following, iter(graph[following])))
    reverse: Graph = {name: [] for name in graph}
    for name, others in graph.items():
        for other in others:
            reverse[other].append(name)
    component: dict[str, str] = {}
    for root in reversed(finished):
        pending = [root] if root not in component else []
        while pending:
            name = pending.pop()
            if name not in component:
                component[name] = root
                pending.extend(reverse[name])
    members: dict[str, list[str]] = {}
    for name in graph:
        members.setdefault(component[name], []).append(name)
    return [knot for knot in members.values() if len(knot) > 1]


def shortest_cycle(graph: Graph, knot: list[str]) -> list[str]:
    """Return a shortest cycle in a knot, from its first task on; in a large knot, a shortest one through the knot's first task."""
    starts = knot if len(knot) <= _EXHAUSTIVE else knot[:1]
    inside = set(knot)
    best = min((_cycle_through(graph, inside, start) for start in starts), key=len)
    first = min(range(len(best)), key=[knot.index(name) for name in best].__getitem__) if len(knot) <= _EXHAUSTIVE else 0
    return best[first:] + best[:first]


def _cycle_through(graph: Graph, inside: set[str], start: str) -> list[str]:
    """Return the shortest way from a task back to itself (breadth first); in a knot there is one."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for other in graph[name]:
            if other == start:
                way = [name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if other in inside and other not in came_from:
                came_from[other] = name
                queue.append(other)
    raise AssertionError(f"{start!r} is in no cycle")
