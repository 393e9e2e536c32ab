"""One stage: submitted, watched to its end, judged, its artifacts checked; a failure says where it came from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.client import wait
from pytest_execgo.client.kernel import KernelRefused
from pytest_execgo.runner.failure import StageFailed
from pytest_execgo.runner.stage import StageRunner, artifact_digest

if TYPE_CHECKING:
    from tests.unit.runner.conftest import Kernel, Listener

Make = Callable[..., Any]
A, B = {"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}


STOPPED = {"status": "cancelled", "error": {"code": "cancelled", "message": "the service was stopped", "retryable": True}}
KILLED = {"status": "cancelled", "error": {"code": "cancelled", "message": "it was killed", "retryable": False}}


def failed(code: str | None = None, *, retryable: bool = True, **more: Any) -> dict[str, Any]:
    error = {"code": code, "message": "it broke", "retryable": retryable, "source": "executor"}
    return {"status": "failed", "error": "it broke", "runtime": {"error": error} if code else {}, **more}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let waiting take no time: the clock moves when somebody sleeps."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def test_a_stage_that_succeeds_leaves_its_outcomes(stages: StageRunner, kernel: Kernel, stage: Make, listener: Listener) -> None:
    stages.run(stage(A, B))
    assert [[task["id"] for task in graph] for graph in kernel.submitted] == [["run-1:s:a:1", "run-1:s:b:1"]]
    assert {name: (found.status, found.wire_id, found.output) for name, found in stages.finished.items()} == {
        "a": ("success", "run-1:s:a:1", {"ok": True}),
        "b": ("success", "run-1:s:b:1", {"ok": True}),
    }
    (record,) = stages.record.stages
    assert (record.stage_id, record.submitted, record.accepted, record.depends_on) == ("s", 2, 2, {"a": (), "b": ("a",)})
    assert [found.task_id for found in record.outcomes] == ["a", "b"]
    (submitted,) = listener.events("stage_submitted")
    assert (submitted.accepted, submitted.wire_ids) == (2, ["run-1:s:a:1", "run-1:s:b:1"])
    (finished,) = listener.events("stage_finished")
    assert (finished.status, finished.counts, finished.unfinished, finished.error_code) == ("ok", {"success": 2}, [], None)
    assert [(seen.task_id, seen.status) for seen in listener.events("task_observed")] == [("b", "success"), ("a", "success")]


def test_a_graph_that_the_kernel_refuses_fails_the_plan(
    stages: StageRunner, kernel: Kernel, stage: Make, listener: Listener
) -> None:
    kernel.refuse = KernelRefused("refused", "unknown task type: nope", status_code=400)
    with pytest.raises(StageFailed) as stopped:
        stages.run(stage(A))
    said = stopped.value.attribution
    assert (said.layer, said.code) == ("submit", "submit_refused")
    assert said.message == "stage s: the kernel refused the task graph: unknown task type: nope"
    (event,) = listener.events("submit_refused")
    assert listener.at(said.evidence[0]) is event
    assert stages.record.stages[0].accepted == 0
    assert stages.record.stages[0].submitted == 1


@pytest.mark.parametrize("status", [401, 404, 413, 429, 500, 503, 200])
def test_any_other_refusal_is_our_error_not_the_plans(
    stages: StageRunner, kernel: Kernel, stage: Make, listener: Listener, status: int
) -> None:
    kernel.refuse = KernelRefused("refused", "no", status_code=status)
    with pytest.raises(KernelRefused) as refused:
        stages.run(stage(A))
    assert refused.value.status_code == status
    assert len(listener.events("submit_refused")) == 1


@pytest.mark.usefixtures("clock")
def test_tasks_that_outlast_the_budget_are_named(stages: StageRunner, kernel: Kernel, stage: Make, listener: Listener) -> None:
    kernel.envelopes = {"b": {"status": "running"}, "c": {"status": "pending"}}
    policy = {"poll_interval_ms": 20, "max_attempts": 5}
    with pytest.raises(StageFailed) as stopped:
        stages.run(stage(A, B, {"id": "c", "type": "noop", "depends_on": ["b"]}, submit_policy=policy))
    said = stopped.value.attribution
    assert (said.layer, said.code, said.retryable) == ("kernel", "stage_timeout", True)
    assert said.message == "stage s: not finished within its budget of 20 ms x 5: b, c"
    (event,) = listener.events("stage_finished")
    assert listener.at(said.evidence[0]) is event
    assert (event.status, event.error_code, event.unfinished) == ("failed", "stage_timeout", ["b", "c"])
    assert stages.finished["a"].status == "success"
    assert stages.finished["b"].status == "running"


@pytest.mark.parametrize(
    ("task", "envelope", "layer", "code", "retryable"),
    [
        ({}, failed("external_failure"), "kernel", "external_failure", True),
        ({}, failed(), "kernel", "task_failed", False),
        ({"type": "runtime"}, failed("exit_nonzero"), "runtime", "exit_nonzero", True),
        ({"type": "runtime"}, failed("timeout"), "runtime", "timeout", True),
        ({"type": "runtime"}, failed("internal", retryable=False), "runtime", "internal", True),
        ({}, failed("internal", retryable=False), "kernel", "internal", False),
        ({"type": "runtime"}, failed("cancelled", retryable=False, result=STOPPED), "runtime", "cancelled", True),
        ({"type": "runtime"}, failed("cancelled", retryable=False, result=KILLED), "runtime", "cancelled", False),
        ({"type": "runtime"}, failed("cancelled", retryable=False, result="text"), "runtime", "cancelled", False),
        ({}, failed("cancelled", retryable=False, result=STOPPED), "kernel", "cancelled", False),
        (
            {"type": "http", "input": {"url": "http://fixtures.test:1/x"}},
            failed("external_failure"),
            "fixture",
            "external_failure",
            True,
        ),
        (
            {"type": "http", "params": {"url": "http://fixtures.test:1"}},
            failed("external_failure"),
            "fixture",
            "external_failure",
            True,
        ),
        (
            {"type": "http", "input": {"url": "http://fixtures.test:10/x"}},
            failed("external_failure"),
            "kernel",
            "external_failure",
            True,
        ),
        ({"type": "http", "input": {"url": "http://else.test/x"}}, failed("external_failure"), "kernel", "external_failure", True),
        ({"type": "http", "input": {"url": 5}}, failed("external_failure"), "kernel", "external_failure", True),
    ],
)
def test_a_failed_task_is_attributed(
    stages: StageRunner,
    kernel: Kernel,
    stage: Make,
    listener: Listener,
    task: Any,
    envelope: Any,
    layer: str,
    code: str,
    retryable: bool,
) -> None:
    kernel.envelopes = {"a": envelope, "b": {"status": "skipped", "error": "dependency a failed"}}
    with pytest.raises(StageFailed) as stopped:
        stages.run(stage({**A, **task}, B))
    said = stopped.value.attribution
    assert (said.layer, said.code, said.retryable) == (layer, code, retryable)
    assert said.message == "stage s, task a: it broke"
    seen, finished = (listener.at(seq) for seq in said.evidence)
    assert (seen.event_type, seen.task_id, seen.status) == ("task_observed", "a", "failed")
    assert seen.error_code == code
    assert (finished.event_type, finished.counts) == ("stage_finished", {"failed": 1, "skipped": 1})
    assert stopped.value.stage_id == "s"


def test_the_first_failure_in_the_order_of_the_graph_is_the_cause(stages: StageRunner, kernel: Kernel, stage: Make) -> None:
    kernel.envelopes = {"a": failed("timeout"), "b": failed("external_failure")}
    with pytest.raises(StageFailed, match="task a: "):
        stages.run(stage(B, A))


def test_skipping_without_a_failure_is_the_kernels_fault_and_no_timeout(stages: StageRunner, kernel: Kernel, stage: Make) -> None:
    kernel.envelopes = {"b": {"status": "skipped"}}
    with pytest.raises(StageFailed) as stopped:
        stages.run(stage(A, B))
    assert (stopped.value.attribution.layer, stopped.value.attribution.code) == ("kernel", "skipped_without_failure")


def test_a_policy_that_does_not_stop_goes_on_after_a_failure(
    stages: StageRunner, kernel: Kernel, stage: Make, listener: Listener
) -> None:
    kernel.envelopes = {"a": failed("timeout")}
    stages.run(stage(A, submit_policy={"stop_on_failure": False}, expected_artifacts=["report"]))
    assert stages.finished["a"].status == "failed"
    assert listener.events("stage_finished")[0].status == "failed"
    stages.run(stage({"id": "c", "type": "noop"}, stage_id="next"))
    assert stages.finished["c"].status == "success"


def test_a_missing_artifact_fails_the_stage_and_is_named_with_its_file(
    stages: StageRunner, stage: Make, listener: Listener, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("n")
    with pytest.raises(StageFailed) as stopped:
        stages.run(stage(A, expected_artifacts=["notes.txt", "report", "other.txt"]))
    said = stopped.value.attribution
    assert (said.layer, said.code) == ("plan", "artifact_missing")
    assert said.message.endswith("not in the workspace: report (out/report.json), other.txt (other.txt)")
    assert listener.at(said.evidence[0]).missing == ["report", "other.txt"]
    digest = hashlib.sha256(b"n").hexdigest()
    assert stages.record.artifact_hashes == {"notes.txt": digest, "report": None, "other.txt": None}


def test_artifacts_that_are_there_are_hashed(stages: StageRunner, stage: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_bytes(b"\0" * 300_000)
    stages.run(stage(A, expected_artifacts=["report"]))
    assert stages.record.artifact_hashes == {"report": hashlib.sha256(b"\0" * 300_000).hexdigest()}


def test_only_regular_files_beneath_the_workspace_are_artifacts(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (workspace / "inside").write_text("i")
    (workspace / "out").symlink_to(tmp_path / "secret")
    (workspace / "in").symlink_to("inside")
    (workspace / "circle").symlink_to("circle")
    (workspace / "dangling").symlink_to("nothing")
    os.mkfifo(workspace / "pipe")
    for name in (
        "out",
        "../secret",
        str(tmp_path / "secret"),
        "circle",
        "dangling",
        "pipe",
        "folder",
        "inside/x",
        "x" * 300,
        "nothing",
    ):
        assert artifact_digest(workspace, name) is None, name
    assert artifact_digest(workspace, "in") == artifact_digest(workspace, "inside") == hashlib.sha256(b"i").hexdigest()
    (tmp_path / "link").symlink_to("workspace")
    assert artifact_digest(tmp_path / "link", "inside") is not None, "the workspace itself may be reached through a link"
