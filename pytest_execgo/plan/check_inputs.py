"""Checks of tasks' arguments: the fields that each tool takes, paths that start in the workspace, bindings that meet a field."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pytest_execgo.core.jsonvalue import MAX_DEPTH, Part, describe, path_text, shortened, shown
from pytest_execgo.plan.paths import ARGUMENT_ROOTS, Path, PathBlocked, PathMalformed, bind_value, format_path, parse_target
from pytest_execgo.plan.placeholders import meant
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.shape import told_faults
from pytest_execgo.plan.tool_inputs import TOOL_INPUTS
from pytest_execgo.plan.tools import tool_of
from pytest_execgo.plan.view import PlanView, StageView, TaskView, listed

_ABSOLUTE = re.compile(r"/|\$\{\{(?!\s*(?:fixtures_url|run_id|seed)\s*\}\})")  # an unknown placeholder is told elsewhere
_PROCESS = (("execution", "args"), ("execution", "env"), ("sandbox", "folder"))
_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "os.file": (("path",),),
    "os.shell": (("dir",), ("command",), ("args",)),
    "os.http": (("url",),),
    "runtime.command": (("execution", "cwd"), ("execution", "program"), *_PROCESS),
    "runtime.script": (("execution", "cwd"), ("execution", "interpreter"), *_PROCESS),
    "runtime.code": (("execution", "env_vars"), *_PROCESS),
    "os.code": (("execution", "env_vars"), *_PROCESS),
    "cli.run": (("command",), ("args",)),
}
"""Where each tool takes texts in which a lookalike of a placeholder is a mistake."""
_FOLDERS = {"path", "dir", "cwd", "folder"}
_NAMES = {"unknown_field", "bad_name"}  # what is wrong with a field whatever its value


@dataclass(slots=True)
class _Bound:
    """What bindings fill in a task: whole target paths, and every path on the way to one, with the binding's own place."""

    arguments: dict[str, Any]
    targets: set[Path] = field(default_factory=set)
    ways: dict[Path, tuple[str, Path]] = field(default_factory=dict)

    def covers(self, parts: Path) -> bool:
        """Tell whether a binding sets what is at a path, or what holds it."""
        return any(parts[:depth] in self.targets for depth in range(1, len(parts) + 1))


def check_inputs(plan: PlanView, told: Collection[str], suggest: Suggester) -> Iterator[Problem]:
    """Find arguments that a tool does not take, or lacks, or takes to mean something else.

    What a binding sets counts as present and right, whatever stands there. `told` holds the places of known problems, which
    are not told again.
    """
    for stage in plan.stages:
        bindings = _bindings(stage)
        for task in stage.tasks:
            tool = tool_of(task.raw) if isinstance(task.raw.get("type"), str) else None
            if tool is not None and f"{task.path}.type" not in told:  # of a tool that is not allowed, no input would be right
                bound = _bound(task, bindings.get(task.id or "", ()))
                yield from (problem for problem in _check(task, tool, bound, suggest) if problem.path not in told)


def _bindings(stage: StageView) -> dict[str, list[tuple[str, str]]]:
    """Return place and target path of each binding, by the task that it goes to."""
    found: dict[str, list[tuple[str, str]]] = {}
    for index, binding in enumerate(listed(stage.raw.get("bindings"))):
        if isinstance(binding, dict):
            task, path = binding.get("target_task_id"), binding.get("target_param_path")
            if isinstance(task, str) and isinstance(path, str):
                found.setdefault(task, []).append((f"{stage.path}.bindings[{index}].target_param_path", path))
    return found


def _bound(task: TaskView, bindings: Collection[tuple[str, str]]) -> _Bound:
    """Try every binding of a task with a stand-in; one that can't be set is told by the checks of bindings."""
    given = {root: task.raw[root] for root in ARGUMENT_ROOTS if task.raw.get(root) is not None}
    bound = _Bound(copy.deepcopy(given) if bindings else given)
    for place, text in bindings:
        try:
            parts = parse_target(text)
            bind_value(bound.arguments, text, {})
        except (PathMalformed, PathBlocked):
            continue
        bound.targets.add(parts)
        for depth in range(1, min(len(parts), MAX_DEPTH) + 1):  # no field lies deeper
            bound.ways.setdefault(parts[:depth], (place, parts))
    return bound


def _check(task: TaskView, tool: str, bound: _Bound, suggest: Suggester) -> Iterator[Problem]:
    if len([root for root in ARGUMENT_ROOTS if task.raw.get(root) is not None]) > 1:
        what = "'input' and 'params' are both given, and a task uses one of them; write one"
        yield Problem(f"{task.path}.params", "two_inputs", what)
        return
    if tool == "mcp.call" and not str(task.raw.get("tool_name") or "").strip():
        yield Problem(f"{task.path}.tool_name", "missing", "required field 'tool_name' is missing: an mcp task names its tool")
    if not bound.arguments:
        if tool not in ("os.noop", "mcp.call"):
            fields = ", ".join(TOOL_INPUTS[tool].model_fields)
            yield Problem(f"{task.path}.params", "missing", f"required field 'params' is missing; {tool} takes {fields}")
        return
    root = next(iter(bound.arguments))
    arguments = bound.arguments[root]
    if not isinstance(arguments, dict):
        return
    yield from _check_fields(task, tool, root, arguments, bound, suggest)
    if tool == "os.shell" and (root,) not in bound.targets:
        yield from _check_shell(f"{task.path}.{root}", arguments)
    yield from _check_texts(f"{task.path}.{root}", tool, arguments)


def _check_fields(
    task: TaskView, tool: str, root: str, arguments: dict[str, Any], bound: _Bound, suggest: Suggester
) -> Iterator[Problem]:
    model = TOOL_INPUTS[tool]
    try:
        model.model_validate(arguments)
        return
    except ValidationError as error:
        faults = list(told_faults(model, arguments, error, suggest))
    for parts, code, message in faults:
        place = (root, *map(str, parts))
        if bound.covers(place[:-1]):  # nobody knows what a binding will bring
            continue
        way = bound.ways.get(place)
        if way and (code in _NAMES or place not in bound.targets):
            what = f"task {shortened(task.id or '', 80)!r} ({tool}) can't take {format_path(way[1])!r}: {message}"
            yield Problem(way[0], "binding_target_path", what)
        if way is None or (code in _NAMES and _has(task.raw.get(root), parts)):
            yield Problem(f"{task.path}.{root}{path_text(parts)[1:]}", code, message)


def _has(document: Any, parts: tuple[Part, ...]) -> bool:
    for part in parts:
        if isinstance(document, dict) and part in document:
            document = document[part]
        else:
            return False
    return True


def _check_shell(path: str, arguments: dict[str, Any]) -> Iterator[Problem]:
    """Find a shell task that runs nothing, or hands a script to no shell."""
    given = [name for name in ("script", "command") if not _blank(arguments.get(name))]
    if not given:
        yield Problem(path, "missing", "one of the fields 'command' and 'script' is required")
    elif given[0] == "script" and arguments.get("runner") == "direct":
        yield Problem(f"{path}.runner", "bad_value", 'found the text "direct"; allowed with a script: auto, sh, powershell, cmd')


def _blank(value: Any) -> bool:
    """Tell whether nothing is there; what is no text is told elsewhere, or stands for what a binding will bring."""
    return value is None or (isinstance(value, str) and not value.strip())


def _check_texts(path: str, tool: str, arguments: dict[str, Any]) -> Iterator[Problem]:
    """Find lookalikes of placeholders, and paths that start in the services' own folder."""
    for place in _PLACES.get(tool, ()):
        holder = arguments if len(place) == 1 else arguments.get(place[0])
        value = holder.get(place[-1]) if isinstance(holder, dict) else None
        where = path + path_text(place)[1:]
        if isinstance(value, str):
            right = meant(value, plain=True)
            if right is not None:
                yield _suspicious(where, value, right)
            elif place[-1] in _FOLDERS and value and not _ABSOLUTE.match(value):
                yield Problem(where, "relative_path", _relative(value))
        elif isinstance(value, list | dict):
            for key, item in enumerate(value) if isinstance(value, list) else value.items():
                if isinstance(item, str) and (right := meant(item, plain=False)) is not None:
                    yield _suspicious(where + path_text((key,))[1:], item, right)


def _suspicious(path: str, value: str, right: str) -> Problem:
    what = f"found {describe(value)}, in which nothing is replaced; write {_quoted(right)}"
    return Problem(path, "suspicious_placeholder", what)


def _relative(value: str) -> str:
    tail = value.removeprefix("./")
    right = _quoted("${{ workspace }}" if tail == "." else f"${{{{ workspace }}}}/{tail}")
    return f"found {describe(value)}, a relative path, which starts in the services' own folder; write {right}"


def _quoted(text: str) -> str:
    return f'"{shown(text, 200)}"'
