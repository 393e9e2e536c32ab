"""What failed in a run, classified: the layer, a code, whether trying again could help, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.plan.verdict import Attribution, Layer, TaskOutcome


class StageFailed(Exception):
    """The plan failed at a stage. Not an error of ours: the run ends as failed, with this attribution."""

    def __init__(self, attribution: Attribution, stage_id: str) -> None:
        super().__init__(attribution.message)
        self.attribution = attribution
        self.stage_id = stage_id


# ExecGo calls neither retryable. A runtime's `internal` error means that it lost the command, not that the command failed; a
# fixtures service that can't be reached may be back soon, and takes the same effect once.
_MAY_PASS = {("runtime", "internal"), ("fixture", "external_failure")}


_NOT_THE_PLANS = frozenset(
    (
        "no_container_engine engine_refused engine_failed image_missing mount_closed sandbox_unavailable sandbox_broke "
        "sandbox_left_running native_not_enabled python_not_apart wasmtime_missing"
    ).split()
)
"""Why a sandbox can't be made, where that is the machine's fault: by the `reason` of the runtime's `sandbox_setup_failed`."""


def attribute_task(outcome: TaskOutcome, evidence: list[int], fixtures_url: str) -> Attribution:
    """Classify the first task of a stage that failed, from the kernel's structured error."""
    error = _error(outcome.envelope)
    said = str(error.get("message") or outcome.envelope.get("error") or "no message")
    if error.get("code") == "timeout" and outcome.envelope.get("timeout"):
        said += f" (the task's timeout is {outcome.envelope['timeout']} ms)"
    layer, code = _layer(outcome, error, fixtures_url), str(error.get("code") or "task_failed")
    return Attribution(
        layer=layer,
        code=code,
        message=f"stage {outcome.stage_id}, task {outcome.task_id}: {said}",
        retryable=bool(error.get("retryable")) or _runtime_says_retry(outcome.envelope) or (layer, code) in _MAY_PASS,
        evidence=evidence,
    )


def attribute_answer(outcome: TaskOutcome, evidence: list[int], fixtures_url: str) -> Attribution | None:
    """Blame the fixtures service when it answered a task with a 5xx, which is a success to the kernel; None when it did not.

    What such a task brought home is no data, and everything after it would be built on it.
    """
    status = outcome.output.get("status_code") if isinstance(outcome.output, Mapping) else None
    if not isinstance(status, int) or status < 500 or _layer(outcome, {}, fixtures_url) != "fixture":
        return None
    message = f"stage {outcome.stage_id}, task {outcome.task_id}: the fixtures service answered {status}"
    return Attribution(layer="fixture", code=f"http_{status}", message=message, retryable=True, evidence=evidence)


def leads_to(url: object, base: str) -> bool:
    """Tell whether a URL lies beneath another one."""
    return isinstance(url, str) and url.startswith(base) and url[len(base) : len(base) + 1] in ("", "/", "?", "#")


def _error(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    runtime = envelope.get("runtime")
    error = runtime.get("error") if isinstance(runtime, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _runtime_says_retry(envelope: Mapping[str, Any]) -> bool:
    """Tell whether the runtime itself, whose answer is the task's result, calls the failure one that may pass.

    The kernel goes by the code alone: to it no task that was cancelled is to be tried again, be it by a service that was stopped.
    """
    result = envelope.get("result") if envelope.get("type") == "runtime" else None
    error = result.get("error") if isinstance(result, Mapping) else None
    return isinstance(error, Mapping) and error.get("retryable") is True


def _is_machines(error: Mapping[str, Any]) -> bool:
    """Tell whether a task failed because this machine can't make the sandbox that it is to run in."""
    kept = error.get("details")
    details = kept.get("details") if isinstance(kept, Mapping) else None  # the kernel keeps the runtime's own within its own
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return error.get("code") == "sandbox_setup_failed" and reason in _NOT_THE_PLANS


def _layer(outcome: TaskOutcome, error: Mapping[str, Any], fixtures_url: str) -> Layer:
    if _is_machines(error):
        return "machine"
    if outcome.envelope.get("type") == "runtime":
        return "runtime"
    payload = outcome.envelope.get("input") or outcome.envelope.get("params")
    target = payload.get("url") if isinstance(payload, Mapping) else None
    return "fixture" if leads_to(target, fixtures_url) else "kernel"
