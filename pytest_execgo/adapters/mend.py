"""Other people's names for the fields of a plan, and values in another form, made those of a StandardPlan; each is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.tools import OS_TOOLS, RUNTIME_KINDS, TOOLS

Names = Mapping[str, tuple[str, ...]]
Mended = dict[str, Any]

_PLAN: Names = {"stages": ("steps", "phases"), "plan_id": ("id", "name")}
_STAGE: Names = {"stage_id": ("id", "name", "stage"), "task_graph": ("graph",), "expected_artifacts": ("artifacts",)}
_TASK: Names = {
    "id": ("task_id", "name"),
    "depends_on": ("dependencies", "deps", "dependsOn", "needs", "after"),
    "retry": ("retries", "max_retries"),
    "timeout": ("timeout_ms",),
}
_BINDING: Names = {
    "source_task_id": ("source_task", "from_task"),
    "source_path": ("from_path",),
    "target_task_id": ("target_task", "to_task"),
    "target_param_path": ("target_path", "to_path"),
}
_ARGUMENTS = ("args", "arguments", "inputs", "parameters")
_NOTES = ("name", "title", "description", "objective", "goal", "purpose", "reason", "rationale", "notes", "comment")
_EMPTY = ("bindings", "submit_policy", "expected_artifacts", "annotations", "depends_on", "retry", "timeout")
_KINDS = {"mcp.call": "mcp", "cli.run": "cli-skills"}


class Mender:
    """Mends one plan. `warnings` gets a line for each change, `$.path: what became what`; nothing of the input is changed."""

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings

    def plan(self, document: Mapping[str, Any]) -> Mended:
        """Return the plan with the fields of a StandardPlan, as far as what was meant is plain."""
        plan = self._renamed(document, _PLAN, "$")
        if "stages" not in plan and ("tasks" in plan or "task_graph" in plan):
            stage = {name: plan.pop(name) for name in ("tasks", "task_graph", "bindings", "submit_policy") if name in plan}
            plan["stages"] = [{"stage_id": "main", **stage}]
            self._say("$.stages", "tasks without stages became the one stage 'main'")
        plan = self._with_notes(self._without_nulls(plan, "$"), "$")
        if isinstance(plan.get("stages"), list):
            stages = self._staged(plan["stages"])
            names: list[Any] = []
            for index, stage in enumerate(stages):
                stages[index] = self._stage(stage, index, names)
            plan["stages"] = stages
        return plan

    def _staged(self, stages: list[Any]) -> list[Any]:
        """Give tasks that stand where stages should a stage each, so that they keep their order; one stage if they name theirs."""
        if not stages or not all(map(_is_task, stages)):
            return list(stages)
        if any(name in stage for stage in stages for name in ("depends_on", *_TASK["depends_on"])):
            self._say("$.stages", f"{len(stages)} tasks became those of the one stage 'main'")
            return [{"stage_id": "main", "task_graph": {"tasks": list(stages)}}]
        self._say("$.stages", f"{len(stages)} tasks became a stage each")
        return [{"stage_id": f"stage-{number}", "task_graph": {"tasks": [task]}} for number, task in enumerate(stages, 1)]

    def _stage(self, given: Any, index: int, earlier: list[Any]) -> Any:
        where = f"$.stages[{index}]"
        if not isinstance(given, Mapping):
            return given
        stage = self._without_nulls(self._renamed(given, _STAGE, where), where)
        if "task_graph" not in stage:
            name = next((name for name in ("tasks", "steps") if isinstance(stage.get(name), list)), None)
            if name is not None:
                stage["task_graph"] = {"tasks": stage.pop(name)}
                self._say(f"{where}.{name}", "became task_graph.tasks")
        elif isinstance(stage["task_graph"], list):
            stage["task_graph"] = {"tasks": stage["task_graph"]}
            self._say(f"{where}.task_graph", "a list became task_graph.tasks")
        waits = stage.get("depends_on")
        if isinstance(waits, list) and all(name in earlier for name in waits):
            del stage["depends_on"]
            self._say(f"{where}.depends_on", "was left out: stages run in their order")
        stage = self._with_notes(stage, where)
        earlier.append(stage.get("stage_id"))
        self._listed(stage, "bindings", f"{where}.bindings", self._binding)
        if isinstance(stage.get("submit_policy"), Mapping):
            stage["submit_policy"] = self._numbers(
                stage["submit_policy"], ("poll_interval_ms", "max_attempts"), f"{where}.submit_policy"
            )
        graph = stage.get("task_graph")
        if isinstance(graph, Mapping):
            stage["task_graph"] = dict(graph)
            self._listed(stage["task_graph"], "tasks", f"{where}.task_graph.tasks", self._task)
        return stage

    def _listed(self, holder: Mended, name: str, where: str, mend: Callable[[Mapping[str, Any], str], Mended]) -> None:
        if isinstance(holder.get(name), list):
            items = enumerate(holder[name])
            holder[name] = [mend(item, f"{where}[{i}]") if isinstance(item, Mapping) else item for i, item in items]

    def _binding(self, given: Mapping[str, Any], where: str) -> Mended:
        return self._renamed(given, _BINDING, where)

    def _task(self, given: Mapping[str, Any], where: str) -> Mended:
        task = self._without_nulls(self._renamed(given, _TASK, where), where)
        if isinstance(task.get("depends_on"), str):
            self._say(f"{where}.depends_on", f"{describe(task['depends_on'])} became a list of one")
            task["depends_on"] = [task["depends_on"]]
        self._tool(task, where)
        self._arguments(task, where)
        return self._split(self._with_notes(self._numbers(task, ("retry", "timeout"), where), where), where)

    def _tool(self, task: Mended, where: str) -> None:
        """Let `tool`, or `tool_name` alone, say what `type` should."""
        given = [name for name in ("tool", "tool_name") if "type" not in task and isinstance(task.get(name), str)]
        if not given:
            return
        name, tool = given[0], task[given[0]].strip()
        kind = _KINDS.get(tool, tool if tool in TOOLS or tool in OS_TOOLS else f"runtime.{tool}" if tool in RUNTIME_KINDS else None)
        if kind is not None:
            del task[name]
            task["type"] = kind
            self._say(f"{where}.{name}", f"{tool!r} became the type {kind!r}")

    def _arguments(self, task: Mended, where: str) -> None:
        for name in ("input", "params", *_ARGUMENTS):
            if isinstance(task.get(name), str) and isinstance(value := _object_in(task[name]), dict):
                task[name] = value
                self._say(f"{where}.{name}", "a text became the JSON object in it")
        given = [name for name in _ARGUMENTS if isinstance(task.get(name), Mapping)]
        if given and "input" not in task and "params" not in task:
            task["input"] = task.pop(given[0])
            self._say(f"{where}.{given[0]}", "became 'input'")

    def _split(self, task: Mended, where: str) -> Mended:
        """Split a tool's kind (`os.file`, `runtime.command`) that stands as a task's type into what the kernel takes."""
        kind = task.get("type")
        family, _, name = kind.partition(".") if isinstance(kind, str) else ("", "", "")
        if family == "os" and name and "tool_name" not in task:
            self._say(f"{where}.type", f"{kind!r} became {name!r}")
            return {**task, "type": name}
        if family == "runtime" and name in RUNTIME_KINDS:
            field = "input" if isinstance(task.get("input"), Mapping) else "params"
            payload = task.get(field)
            execution = payload.get("execution") if isinstance(payload, Mapping) else None
            if isinstance(payload, Mapping) and isinstance(execution, Mapping) and execution.get("kind", name) == name:
                self._say(f"{where}.type", f"{kind!r} became 'runtime' with execution.kind {name!r}")
                return {**task, "type": "runtime", field: {**payload, "execution": {**execution, "kind": name}}}
        return task

    def _renamed(self, given: Mapping[str, Any], names: Names, where: str) -> Mended:
        mended = dict(given)
        for name, others in names.items():
            other = next((other for other in others if other in mended), None) if name not in mended else None
            if other is not None:
                mended[name] = mended.pop(other)
                self._say(f"{where}.{other}", f"became {name!r}")
        return mended

    def _with_notes(self, given: Mended, where: str) -> Mended:
        """Keep what only people read as annotations."""
        notes = {name: given[name] for name in _NOTES if isinstance(given.get(name), str)}
        if not notes or not isinstance(given.get("annotations", {}), Mapping):
            return given
        for name in notes:
            self._say(f"{where}.{name}", "became an annotation")
        rest = {name: value for name, value in given.items() if name not in notes}
        return {**rest, "annotations": {**notes, **given.get("annotations", {})}}

    def _without_nulls(self, given: Mended, where: str) -> Mended:
        empty = [name for name in _EMPTY if name in given and given[name] is None]
        for name in empty:
            self._say(f"{where}.{name}", "null was left out")
        return {name: value for name, value in given.items() if name not in empty}

    def _numbers(self, given: Mapping[str, Any], names: tuple[str, ...], where: str) -> Mended:
        mended = dict(given)
        for name in names:
            value = given.get(name)
            digits = isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20
            if digits or (isinstance(value, float) and value.is_integer()):
                mended[name] = int(value)  # type: ignore[arg-type]
                self._say(f"{where}.{name}", f"{describe(value)} became {mended[name]}")
        return mended

    def _say(self, where: str, what: str) -> None:
        self.warnings.append(f"{where}: {what}")


def _is_task(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and any(name in value for name in ("type", "tool", "tool_name"))
        and not any(name in value for name in ("task_graph", "tasks", "stage_id"))
    )


def _object_in(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
