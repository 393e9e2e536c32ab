"""A stage of a plan, compiled to the task graph that the kernel gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.events import BindingApplied, BindingFailed
from pytest_execgo.plan.model import Binding, PlanStage
from pytest_execgo.plan.paths import PathBlocked, PathMissing, bind_value, get_path
from pytest_execgo.plan.placeholders import fill
from pytest_execgo.plan.sandbox import SandboxPolicy
from pytest_execgo.plan.tools import SANDBOXED_KINDS, tool_of
from pytest_execgo.plan.verdict import Attribution, TaskOutcome
from pytest_execgo.runner.failure import StageFailed, leads_to

_NETWORK = ("network_enabled", "allowed_hosts")


@dataclass(frozen=True, slots=True)
class CompiledStage:
    """A stage ready for submission. `wire_ids` maps plan ids to global ones, in topological order."""

    tasks: list[dict[str, Any]]
    wire_ids: dict[str, str]
    depends_on: dict[str, tuple[str, ...]]

    def waits(self) -> dict[str, tuple[str, ...]]:
        """Map each wire id to the wire ids it waits for, in topological order."""
        return {self.wire_ids[task]: tuple(self.wire_ids[parent] for parent in self.depends_on[task]) for task in self.wire_ids}


def compile_stage(
    stage: PlanStage,
    *,
    run_id: str,
    attempt: int,
    values: Mapping[str, str],
    finished: Mapping[str, TaskOutcome],
    stream: EventStream,
    sandbox: SandboxPolicy | None = None,
) -> CompiledStage:
    """Fill placeholders, apply bindings from `finished` tasks, give every task its global id, and its commands their sandbox.

    A global id carries run, stage, task and attempt, since ids are global keys of the kernel (seed 004, 13.3); colons within
    them are written %3A, so that no two tasks share one.
    Placeholders are filled before values are bound, so that a task's output is never expanded. `StageFailed` when a
    required binding has no source.
    """
    depends_on = {task.id: tuple(dict.fromkeys(task.depends_on)) for task in stage.task_graph.tasks}
    order = TopologicalSorter(depends_on).static_order()
    wire_ids = {task: f"{run_id}:{_part(stage.stage_id)}:{_part(task)}:{attempt}" for task in order}
    documents = {task.id: fill(task.model_dump(exclude_unset=True), values) for task in stage.task_graph.tasks}
    for binding in stage.bindings:
        _bind(binding, stage, documents, finished, stream)
    for task, document in documents.items():
        document["id"] = wire_ids[task]
        _sign(document, values["fixtures_url"], attempt)
        _confine(document, sandbox, values["workspace"])
        if depends_on[task]:
            document["depends_on"] = [wire_ids[parent] for parent in depends_on[task]]
    return CompiledStage(list(documents.values()), wire_ids, depends_on)


def _sign(document: dict[str, Any], fixtures_url: str, attempt: int) -> None:
    """Let the effect sink know which attempt of which task delivers: it refuses one that a later attempt has replaced."""
    payload = document.get("input") or document.get("params")
    if tool_of(document) != "os.http" or not isinstance(payload, dict) or not leads_to(payload.get("url"), fixtures_url):
        return
    headers = payload.setdefault("headers", {})
    if isinstance(headers, dict):
        headers.setdefault("X-Execgo-Task", document["id"])
        headers.setdefault("X-Fencing-Token", str(attempt))


def _confine(document: dict[str, Any], sandbox: SandboxPolicy | None, workspace: str) -> None:
    """Let a task's command run where the scenario says, and an os task's code where code is run: in the runtime."""
    if tool_of(document) == "os.code":
        document["type"] = "runtime"
        for name in ("tool_name", "execution_category"):
            document.pop(name, None)
    tool = tool_of(document)
    if sandbox is None or tool not in [f"runtime.{kind}" for kind in SANDBOXED_KINDS]:
        return
    payload = document.get("input") or document["params"]
    asked = payload.get("sandbox")
    asked = asked if isinstance(asked, dict) else {}
    network = {name: asked[name] for name in _NETWORK if name in asked and sandbox.network_enabled}
    alone = tool == "runtime.code" and not asked.get("folder")
    payload["sandbox"] = {**network, "mode": sandbox.mode, **({} if alone else {"folder": workspace})}


def _part(name: str) -> str:
    return name.replace("%", "%25").replace(":", "%3A")


def _bind(
    binding: Binding,
    stage: PlanStage,
    documents: Mapping[str, dict[str, Any]],
    finished: Mapping[str, TaskOutcome],
    stream: EventStream,
) -> None:
    source = f"{binding.source_task_id}.{binding.source_path}"
    target = f"{binding.target_task_id}.{binding.target_param_path}"
    try:
        value = _source_value(binding, finished)
        bind_value(documents[binding.target_task_id], binding.target_param_path, value)
    except (PathMissing, PathBlocked) as missing:
        reason = f"binding {source} -> {target}: {missing.message}"
        seq = stream.emit(
            BindingFailed(
                stage_id=stage.stage_id,
                task_id=binding.target_task_id,
                status="failed" if binding.required else "skipped",
                error_code="binding_missing",
                source=source,
                target=target,
                required=binding.required,
                reason=missing.message,
            )
        )
        if binding.required:
            raise StageFailed(
                Attribution(layer="binding", code="binding_missing", message=reason, evidence=[seq]), stage.stage_id
            ) from missing
        return
    stream.emit(BindingApplied(stage_id=stage.stage_id, task_id=binding.target_task_id, source=source, target=target))


def _source_value(binding: Binding, finished: Mapping[str, TaskOutcome]) -> Any:
    outcome = finished.get(binding.source_task_id)
    if outcome is None:
        raise PathMissing(binding.source_path, "", f"nothing: task {binding.source_task_id!r} has not run")
    if outcome.status != "success":
        raise PathMissing(binding.source_path, "", f"nothing: task {binding.source_task_id!r} ended as {outcome.status}")
    return get_path({**outcome.envelope, "output": outcome.output}, binding.source_path)
