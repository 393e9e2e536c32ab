"""Real flows of Metaflow. Each runs in a process of its own, so that this one never imports Metaflow."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.executors import ExecutionResult, ExecutionStatus, FlowExecutor, UnifiedExecutor

pytestmark = pytest.mark.usefixtures("needs_metaflow")
Make = Callable[..., Any]


def run(target: Any, inputs: dict[str, Any], context: Any, **options: Any) -> ExecutionResult:
    return asyncio.run(FlowExecutor(**{"max_workers": 2, **options}).execute(target, inputs, context))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pids(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


async def wait_for_pids(folder: Path, count: int) -> None:
    """Wait until a hanging flow has noted its processes: nobody tells when."""
    async with asyncio.timeout(120):
        while len(pids(folder)) < count:
            await asyncio.sleep(0.05)


def test_a_flow_gives_its_artifacts_as_python_values(
    flows: Path, context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = {"count": 5, "pet-name": "grace", "weights": {"4": 10}}
    result = run(flows / "squares.py", inputs, context(metadata={"who": "me"}))
    assert result.error is None
    assert (result.status, result.backend) == (ExecutionStatus.SUCCEEDED, "flow")
    assert result.output == {
        "count": 5,
        "pet_name": "grace",
        "weights": {"4": 10},
        "squares": (0, 1, 4, 9, 160),
        "total": 174,
        "summary": "grace: 174",
        "kinds": {"int"},
    }
    steps = {"start": 1, "square": 5, "join": 1, "end": 1}
    assert result.metadata["steps"] == {name: {"status": "succeeded", "tasks": count} for name, count in steps.items()}
    assert list(result.metadata["steps"]) == list(steps)
    assert result.metadata["pathspec"].startswith("Squares/")
    assert result.metadata["who"] == "me"
    assert result.duration_seconds
    assert list(tmp_path.iterdir()) == []
    assert "metaflow" not in sys.modules


def test_a_given_datastore_is_kept(flows: Path, context: Make, tmp_path: Path) -> None:
    result = run(flows / "squares.py", {"count": 1}, context(), datastore=tmp_path / "kept")
    flow, _, number = result.metadata["pathspec"].partition("/")
    assert (tmp_path / "kept/.metaflow" / flow / number).is_dir()


def test_a_failing_step_gives_its_own_exception(flows: Path, context: Make) -> None:
    result = run(flows / "faulty.py", {"how": "raise"}, context())
    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.startswith("TooOdd: item 2 is too odd (task Faulty/")
    (failure,) = result.metadata["exceptions"]
    assert failure["type"].endswith("TooOdd")
    assert "/work/" in failure["task"]
    assert result.metadata["steps"]["start"]["status"] == "succeeded"
    assert result.metadata["steps"]["work"]["status"] == "failed"
    assert "Step work" in result.metadata["stderr"]


@pytest.mark.parametrize(("how", "step"), [("die", "work"), ("unstorable", "end")])
def test_a_task_that_could_not_tell_is_a_failure_too(how: str, step: str, flows: Path, context: Make) -> None:
    result = run(flows / "faulty.py", {"how": how}, context())
    assert result.status is ExecutionStatus.FAILED
    assert any(f"/{step}/" in failure["task"] for failure in result.metadata["exceptions"])


def test_artifacts_that_are_no_plain_data_are_named_or_unpickled(
    flows: Path, context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = run(flows / "faulty.py", {"how": "none"}, context())
    assert (named.output["done"], "odd" in named.output) == (True, False)
    assert "TooOdd is no plain data" in named.metadata["left_out"]["odd"]
    # its class is defined in a file that this process knows once it can be imported
    unknown = run(flows / "faulty.py", {"how": "none"}, context(), unpickle=True)
    assert unknown.metadata["left_out"] == {"odd": "ModuleNotFoundError: No module named 'faulty'"}
    module = ModuleType("faulty")
    module.TooOdd = type("TooOdd", (ValueError,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "faulty", module)
    known = run(flows / "faulty.py", {"how": "none"}, context(), unpickle=True)
    assert type(known.output["odd"]) is module.TooOdd
    assert "left_out" not in known.metadata


def test_a_file_that_raises_is_a_failed_launch(context: Make, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from metaflow import FlowSpec\nimport no_such_module\n\n\nclass A(FlowSpec): ...\n")
    result = run(tmp_path / "broken.py", {}, context())
    assert (result.status, result.error) == (ExecutionStatus.FAILED, "ModuleNotFoundError: No module named 'no_such_module'")


def test_a_flow_that_metaflow_refuses_is_a_failed_launch_with_the_reason(context: Make, tmp_path: Path) -> None:
    text = "from metaflow import FlowSpec, step\n\n\nclass NoWay(FlowSpec):\n    @step\n    def start(self):\n        pass\n\n"
    (tmp_path / "no_way.py").write_text(text + "    @step\n    def end(self):\n        pass\n")
    result = run(tmp_path / "no_way.py", {}, context())
    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.startswith("the flow could not be launched: ")
    assert "self.next" in result.metadata["stderr"]


@pytest.mark.parametrize(
    ("file", "inputs", "message"),
    [
        ("squares.py", {"cuont": 1}, "unknown parameter 'cuont'.*\n.*did you mean 'count'"),
        ("squares.py", {"count": "many"}, "flow Squares: .*'count'"),
        ("faulty.py", {}, "flow Faulty: .*how is required"),
        ("squares.py", {"count": object()}, "can't be handed over"),
    ],
)
def test_mistaken_parameters_are_the_callers(file: str, inputs: Any, message: str, flows: Path, context: Make) -> None:
    with pytest.raises(UsageError, match=message):
        run(flows / file, inputs, context())


def test_when_the_time_is_up_the_whole_tree_is_gone(flows: Path, context: Make, tmp_path: Path) -> None:
    inputs = {"how": "hang", "place": str(tmp_path)}
    for seconds in (8, 30, 90):  # however busy the machine is, in one of them the flow comes so far that it hangs
        result = run(flows / "faulty.py", inputs, context(timeout_seconds=seconds), max_workers=3)
        assert (result.status, result.error) == (ExecutionStatus.FAILED, f"timed out after {seconds} s")
        assert [pid for pid in pids(tmp_path) if alive(pid)] == []
        if len(pids(tmp_path)) >= 2:
            break
    assert len(pids(tmp_path)) >= 2
    assert result.metadata["pathspec"].startswith("Faulty/")


def test_a_cancelled_flow_leaves_nothing(flows: Path, context: Make, tmp_path: Path) -> None:
    unified = UnifiedExecutor(flow_executor=FlowExecutor(max_workers=2))
    folders = [tmp_path / "order", tmp_path / "caller"]
    for folder in folders:
        folder.mkdir()

    async def go() -> Any:
        target, backend = flows / "faulty.py", "flow"
        ordered, with_caller = (
            asyncio.ensure_future(
                unified.execute(target, {"how": "hang", "place": str(folder)}, backend=backend, context=context(run_id=folder.name))
            )
            for folder in folders
        )
        for folder in folders:
            await wait_for_pids(folder, 4)
        assert unified.cancel("order")
        with_caller.cancel()
        return await asyncio.gather(ordered, with_caller, return_exceptions=True)

    ordered, raised = asyncio.run(go())
    assert ordered.status is ExecutionStatus.CANCELLED
    assert isinstance(raised, asyncio.CancelledError)
    assert unified.flow.result("caller").status is ExecutionStatus.CANCELLED  # type: ignore[union-attr]
    assert [pid for folder in folders for pid in pids(folder) if alive(pid)] == []


def test_what_a_flow_leaves_running_ends_with_it(flows: Path, context: Make, tmp_path: Path) -> None:
    result = run(flows / "faulty.py", {"how": "leave_a_process", "place": str(tmp_path)}, context())
    assert result.status is ExecutionStatus.SUCCEEDED
    assert len(pids(tmp_path)) == 2
    assert [pid for pid in pids(tmp_path) if alive(pid)] == []


def test_two_at_once_in_one_loop_keep_apart(flows: Path, context: Make) -> None:
    async def go() -> list[ExecutionResult]:
        unified = UnifiedExecutor(flow_executor=FlowExecutor(max_workers=1))
        file = str(flows / "squares.py")
        return await asyncio.gather(
            *(unified.execute(file, {"count": n}, backend="flow", context=context(run_id=str(n))) for n in (2, 3))
        )

    first, second = asyncio.run(go())
    assert (first.output["total"], second.output["total"]) == (1, 5)
    assert first.metadata["pathspec"] != second.metadata["pathspec"]


def test_inside_a_running_loop_it_can_be_waited_for(flows: Path) -> None:
    async def inside() -> ExecutionResult:
        return UnifiedExecutor().execute_sync(flows / "squares.py", {"count": 2}, backend="flow")

    assert asyncio.run(inside()).output["total"] == 1


def test_a_class_is_run_from_its_file(driver: Callable[..., Any], flows: Path) -> None:
    outcome = driver("metaflow", "class", str(flows))
    assert outcome == {"status": "succeeded", "total": 5, "beside": "read from beside.txt", "local": "no_flow_source"}


def test_a_flow_ends_when_its_owner_is_killed(driver: Callable[..., Any], flows: Path, tmp_path: Path) -> None:
    noted = driver("metaflow", "killed", str(flows), str(tmp_path))
    assert len(noted) == 4

    async def gone() -> None:
        async with asyncio.timeout(60):
            while any(alive(pid) for pid in noted) or list((tmp_path / "tmp").glob("execgo-flow-*")):
                await asyncio.sleep(0.05)

    asyncio.run(gone())


@pytest.mark.parametrize("mode", ["batch", "remote"])
def test_a_cluster_needs_a_datastore_that_it_can_reach(mode: str, flows: Path, context: Make, tmp_path: Path) -> None:
    nothing: dict[str, str | None] = {"METAFLOW_HOME": str(tmp_path), "METAFLOW_PROFILE": None, "METAFLOW_DEFAULT_DATASTORE": None}
    with pytest.raises(UsageError, match=r"the datastore is 'local'.*\n.*METAFLOW_DATASTORE_SYSROOT_S3"):
        run(flows / "squares.py", {}, context(mode=mode), environment=nothing)
    with pytest.raises(UsageError, match="has no root"):
        run(flows / "squares.py", {}, context(mode=mode), environment={**nothing, "METAFLOW_DEFAULT_DATASTORE": "s3"})


def test_an_endpoint_that_does_not_answer_is_said_in_seconds(flows: Path, context: Make, tmp_path: Path) -> None:
    environment = {
        "METAFLOW_HOME": str(tmp_path),
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_S3": "s3://bucket/prefix",
        "METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    with pytest.raises(StackError, match=r"the object store at 127\.0\.0\.1:9 can't be reached"):
        run(flows / "squares.py", {}, context(mode="batch", timeout_seconds=60), environment=environment)


def test_the_environment_of_the_caller_stays_as_it_was(flows: Path, context: Make) -> None:
    before = dict(os.environ)
    run(flows / "squares.py", {"count": 1}, context())
    assert dict(os.environ) == before
