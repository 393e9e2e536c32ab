"""The sandbox that a scenario asks for, and the one that its commands get."""

from __future__ import annotations

from pytest_execgo.core.errors import Unsupported
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.events import SandboxChosen
from pytest_execgo.plan.sandbox import SandboxPolicy
from pytest_execgo.runner.parts import RunParts


def choose_sandbox(parts: RunParts, stream: EventStream) -> SandboxPolicy | None:
    """Return the sandbox for a run's commands; None for where the runtime runs them anyway.

    `Unsupported` when the scenario requires one that can't be had. The timeline tells what was asked for and what there is.
    """
    policy, use = parts.scenario.spec.sandbox, parts.sandbox
    if policy is None or use is None:
        return None
    missing = use.effective is None
    stream.emit(
        SandboxChosen(
            status="ok" if not missing else "failed" if policy.required else "skipped",
            error_code="sandbox_unavailable" if missing else None,
            requested=use.requested,
            effective=use.effective,
            reason=use.reason,
        )
    )
    if not missing:
        return policy
    if policy.required:
        what = f"scenario {parts.scenario.spec.id!r} requires the sandbox {policy.mode!r}, which can't be had: {use.reason}"
        raise Unsupported("sandbox_unavailable", what, "write `required: false` beside its mode to run without it")
    return None
