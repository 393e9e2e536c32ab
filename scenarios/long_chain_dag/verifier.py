"""Judges long_chain_dag: whether every step ran after its parents, and the lineage holds each of them, unaltered."""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytest_execgo.plan.verdict import Verdict, VerifierContext

Graph = dict[str, tuple[str, ...]]
"""Each task of a plan with its parents, parents first."""


class Step(NamedTuple):
    """What a step must have left: its marker's text and that text's SHA-256."""

    marker: str
    lineage: str
    parents: Mapping[str, str]


def verify(context: VerifierContext) -> Verdict:
    """Judge the order of all tasks and the lineage that they left; every reason is a sentence with figures."""
    problems = [*_tampered(context)]
    graph = _graph(context, problems)
    problems += _order(context, graph)
    collectors = [name for name in graph if _is_lineage(context, name)]
    if not collectors:
        problems.append(f"none of the {len(graph)} tasks put out a collected lineage")
        return Verdict.of(problems, tasks=len(graph), edges=sum(map(len, graph.values())))
    steps = _steps(context, {name: graph[name] for name in graph if name not in _downstream(graph, collectors)})
    shape = _shape(graph, set(steps))
    problems += _too_small(context, shape)
    problems += _uncollected(graph, collectors, set(steps))
    problems += _markers(context, steps)
    collected = {f"the output of {name}": context.tasks[name].output for name in collectors}
    for what, lineage in {**collected, "out/lineage.json": _read(context, problems)}.items():
        problems += _lineage(context, what, lineage, steps)
    return Verdict.of(problems, tasks=len(graph), edges=sum(map(len, graph.values())), **shape)


def _graph(context: VerifierContext, problems: list[str]) -> Graph:
    parents = {task.id: tuple(dict.fromkeys(task.depends_on)) for stage in context.plan.stages for task in stage.task_graph.tasks}
    if unknown := sorted({name for names in parents.values() for name in names} - set(parents)):
        problems.append(f"{len(unknown)} parents are no tasks of the plan: {', '.join(unknown)}")
    known = {name: tuple(parent for parent in names if parent in parents) for name, names in parents.items()}
    try:
        return {name: known[name] for name in graphlib.TopologicalSorter(known).static_order()}
    except graphlib.CycleError as error:
        problems.append(f"the plan's {len(known)} tasks form a cycle: {' -> '.join(error.args[1])}")
        return {}


def _order(context: VerifierContext, graph: Graph) -> Iterator[str]:
    for name, parents in graph.items():
        task = context.tasks.get(name)
        if task is None or task.status != "success":
            yield f"{name} did not succeed: {'it has no outcome' if task is None else f'its status is {task.status}'}"
        if task is None or task.started_ns is None or task.finished_ns is None:
            yield f"{name} has no start and end, so its order against {len(parents)} parents can't be shown"
            continue
        if task.finished_ns < task.started_ns:
            yield f"{name} finished {task.started_ns - task.finished_ns} ns before it started"
        for parent in parents:
            before = context.tasks.get(parent)
            if before and before.finished_ns is not None and task.started_ns < before.finished_ns:
                early = before.finished_ns - task.started_ns
                yield f"edge {parent} -> {name}: the child started {early} ns before its parent finished"


def _steps(context: VerifierContext, graph: Graph) -> dict[str, Step]:
    """Recompute every marker from the plan, the run and the seed alone."""
    steps: dict[str, Step] = {}
    for name, parents in graph.items():
        digests = {parent: steps[parent].lineage for parent in sorted(parents)}
        lines = [f"{parent} {digest}" for parent, digest in digests.items()] or [context.run_id, str(context.seed)]
        marker = "".join(f"{line}\n" for line in [name, *lines])
        steps[name] = Step(marker, hashlib.sha256(marker.encode()).hexdigest(), digests)
    return steps


def _shape(graph: Graph, steps: set[str]) -> dict[str, int]:
    depth: dict[str, int] = {}
    children: dict[str, int] = dict.fromkeys(graph, 0)
    diamonds = 0
    for name in (name for name in graph if name in steps):
        parents = graph[name]
        depth[name] = 1 + max((depth[parent] for parent in parents), default=0)
        for parent in parents:
            children[parent] += 1
        above = [set(graph[parent]) for parent in parents]
        diamonds += any(one & other for at, one in enumerate(above) for other in above[:at])
    return {
        "steps": len(steps),
        "depth": max(depth.values(), default=0),
        "fan_out": max(children.values(), default=0),
        "fan_in": max((len(graph[name]) for name in steps), default=0),
        "diamonds": diamonds,
    }


def _too_small(context: VerifierContext, shape: Mapping[str, int]) -> Iterator[str]:
    for name, figure in shape.items():
        least = context.expected.get(f"min_{name}", 0)
        if figure < least:
            yield f"the graph has {name} {figure}, the scenario wants at least {least}"


def _uncollected(graph: Graph, collectors: list[str], steps: set[str]) -> Iterator[str]:
    roots = sorted(name for name in steps if not graph[name])
    if len(roots) != 1:
        yield f"the graph has {len(roots)} steps without parents, not one origin: {', '.join(roots)}"
    for collector in collectors:
        reached, waiting = set(), [collector]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += graph[name]
        if missed := sorted(steps - reached):
            yield f"{collector} does not wait for {len(missed)} of {len(steps)} steps: {', '.join(missed)}"


def _markers(context: VerifierContext, steps: Mapping[str, Step]) -> Iterator[str]:
    folder = context.workspace / "lineage"
    present = {path.stem for path in folder.glob("*.txt") if path.is_file()}
    if extra := sorted(present - set(steps)):
        yield f"{len(extra)} markers belong to no step of the plan: {', '.join(extra)}"
    for name, step in steps.items():
        if name not in present:
            yield f"step {name} left no marker lineage/{name}.txt"
        elif (found := (folder / f"{name}.txt").read_bytes()) != step.marker.encode():
            yield (
                f"marker lineage/{name}.txt has SHA-256 {hashlib.sha256(found).hexdigest()[:12]}; "
                f"for its {len(step.parents)} parents, this run and seed it must be {step.lineage[:12]}"
            )


def _lineage(context: VerifierContext, what: str, lineage: Any, steps: Mapping[str, Step]) -> Iterator[str]:
    lineage = _mapping(lineage)
    if (lineage.get("run_id"), lineage.get("seed")) != (context.run_id, context.seed):
        yield (
            f"{what} belongs to run {lineage.get('run_id')!r} with seed {lineage.get('seed')!r}, "
            f"not to this run {context.run_id!r} with seed {context.seed}"
        )
    nodes = _mapping(lineage.get("nodes"))
    if lost := sorted(set(steps) - set(nodes)):
        yield f"{what} lacks {len(lost)} of {len(steps)} steps: {', '.join(lost)}"
    if invented := sorted(set(nodes) - set(steps)):
        yield f"{what} holds {len(invented)} steps that the plan does not have: {', '.join(invented)}"
    for name in sorted(steps.keys() & nodes.keys()):
        node, step = _mapping(nodes[name]), steps[name]
        if node.get("lineage") != step.lineage:
            yield f"{what} gives {name} the lineage {str(node.get('lineage'))[:12]}, recomputed it is {step.lineage[:12]}"
        if node.get("parents") != step.parents:
            yield f"{what} gives {name} other parents than the {len(step.parents)} of the plan with their lineages"


def _is_lineage(context: VerifierContext, name: str) -> bool:
    task = context.tasks.get(name)
    return task is not None and task.status == "success" and isinstance(_mapping(task.output).get("nodes"), Mapping)


def _downstream(graph: Graph, names: list[str]) -> set[str]:
    found = set(names)
    for name, parents in graph.items():
        if found & set(parents):
            found.add(name)
    return found


def _read(context: VerifierContext, problems: list[str]) -> Any:
    try:
        return json.loads((context.workspace / "out" / "lineage.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the result out/lineage.json can't be read: {error}")
        return None


def _tampered(context: VerifierContext) -> Iterator[str]:
    fixtures = context.scenario_dir / "fixtures"
    for path in sorted(path for path in fixtures.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        there = context.workspace / path.relative_to(fixtures)
        if not there.is_file() or there.read_bytes() != path.read_bytes():
            yield f"{path.relative_to(fixtures).as_posix()} of the scenario is missing or was modified in the workspace"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
