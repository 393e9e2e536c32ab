"""Flows and light stand-ins for them, without Metaflow."""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import MissingDependency, StackError, Unsupported, UsageError
from pytest_execgo.executors import ExecutionMode, ExecutionStatus, FlowExecutor, flow_process
from pytest_execgo.executors import flow as flow_module
from pytest_execgo.executors.flow_job import FlowAnswer, Mistake
from pytest_execgo.executors.flow_source import FlowSource, copy_cleanly, find_source, is_flow_class
from pytest_execgo.executors.supervision import Refusal


def run(target: Any, inputs: Any, context: Any, executor: FlowExecutor | None = None) -> Any:
    return asyncio.run((executor or FlowExecutor()).execute(target, inputs, context))


class ByName:
    async def run(self, count: int, *, name: str = "x") -> Any:
        return count, name


class ByDict:
    async def arun(self, inputs: dict[str, Any]) -> Any:
        return "arun", inputs

    async def run(self, inputs: dict[str, Any]) -> Any:
        raise AssertionError("arun comes first")


def test_light_targets_are_called_with_inputs_by_name_where_those_fit_else_as_a_dict(context: Any) -> None:
    assert run(ByName(), {"count": 3}, context()).output == (3, "x")
    assert run(ByDict(), {"count": 3}, context()).output == ("arun", {"count": 3})
    assert run(lambda count: count + 1, {"count": 3}, context()).output == 4
    result = run(lambda inputs: sorted(inputs), {"b": 1, "a": 2}, context())
    assert (result.backend, result.status, result.output) == ("flow", ExecutionStatus.SUCCEEDED, ["a", "b"])


def test_what_they_raise_is_a_failed_result(context: Any) -> None:
    result = run(lambda count: 1 // count, {"count": 0}, context())
    assert (result.status, result.metadata["exception_type"]) == (ExecutionStatus.FAILED, "ZeroDivisionError")


@pytest.mark.parametrize("target", [3, None, object(), ByName])
def test_anything_else_is_one_clear_error(target: Any, context: Any) -> None:
    with pytest.raises(UsageError, match="can't be executed as a flow"):
        run(target, {}, context())


@pytest.mark.parametrize(("executor", "given"), [("batch", {}), ("local", {"mode": "remote"})])
def test_light_targets_run_here_only(executor: Any, given: Any, context: Any) -> None:
    with pytest.raises(Unsupported, match="is no Metaflow flow"):
        run(ByName(), {"count": 1}, context(**given), FlowExecutor(mode=executor))


def test_the_contexts_mode_is_stronger_than_the_executors_where_it_is_said(context: Any) -> None:
    assert run(ByName(), {"count": 1}, context(mode="local"), FlowExecutor(mode=ExecutionMode.BATCH)).output == (1, "x")


def test_without_metaflow_a_flow_file_names_the_command_that_installs_it(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "installed", lambda name: False)
    (tmp_path / "flow.py").write_text("")
    with pytest.raises(MissingDependency) as caught:
        run(tmp_path / "flow.py", {}, context())
    assert caught.value.hint == "pip install 'pytest-execgo[metaflow]'"


def test_a_file_that_is_not_there_is_said(context: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no flow file"):
        run(str(tmp_path / "nope.py"), {}, context())


def test_flow_classes_are_known_by_their_base() -> None:
    base = type("FlowSpec", (), {"__module__": "metaflow.flowspec"})
    assert is_flow_class(type("Mine", (base,), {}))
    assert not is_flow_class(type("Mine", (type("FlowSpec", (), {"__module__": "mine"}),), {}))
    assert find_source(ByName()) is None
    with pytest.raises(UsageError, match="'Mine' has no source file"):
        find_source(type("Mine", (base,), {"__module__": "builtins"}))


GUARD = 'if __name__ == "__main__":'


@pytest.mark.parametrize(
    ("text", "flow", "last"),
    [
        (f"class A(FlowSpec): ...\n{GUARD}\n    A(1)\n", None, f"{GUARD}\n    A(1)\n"),
        ("class A(metaflow.FlowSpec): ...\n", None, f"{GUARD}\n    A()\n"),
        (f"class A(FlowSpec): ...\nclass B(A): ...\n{GUARD}\n    A()\n", "B", f"class B(A): ...\n\n\n\n{GUARD}\n    B()\n"),
    ],
)
def test_a_copy_lies_alone_and_runs_the_flow(text: str, flow: str | None, last: str, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(text)
    (tmp_path / "secret.txt").write_text("s")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1")
    clean = tmp_path / "clean"
    clean.mkdir()
    copy = copy_cleanly(FlowSource(tmp_path / "flow.py", flow), clean, [tmp_path / "data"])
    assert sorted(path.name for path in clean.rglob("*")) == ["a.csv", "data", "flow.py"]
    assert copy.read_text().endswith(last)


@pytest.mark.parametrize(
    ("text", "include", "message"),
    [
        ("class A(FlowSpec): ...\nclass B(FlowSpec): ...\n", (), "it holds A, B"),
        ("x = 1\n", (), "it holds none"),
        ("def\n", (), "can't be read as Python"),
        (f"{GUARD}\n    A()\n", ("gone",), "does not exist"),
    ],
)
def test_a_file_that_can_not_be_run_is_said(text: str, include: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(text)
    clean = tmp_path / "clean"
    clean.mkdir()
    with pytest.raises(UsageError, match=message):
        copy_cleanly(FlowSource(tmp_path / "flow.py"), clean, [tmp_path / name for name in include])


def end(**answer: Any) -> Any:
    return flow_process._ending(FlowAnswer.model_validate(answer), flow_process.FlowSettings())


def test_a_mistake_is_raised_as_what_it_is() -> None:
    with pytest.raises(Refusal) as caught:
        end(mistake=Mistake(kind="StackError", code="c", message="m", hint="h"))
    assert type(caught.value.error) is StackError
    assert str(caught.value.error) == "m\n  hint: h"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            {"failures": [{"type": "my.BadItem", "message": "item 1", "task": "F/1/work/3"}], "pathspec": "F/1"},
            "BadItem: item 1 (task F/1/work/3)",
        ),
        ({"log": "usage\n\nError: no such option\n"}, "the flow could not be launched: usage / Error: no such option"),
        ({}, "the flow could not be launched"),
    ],
)
def test_a_failed_run_says_why(answer: Any, error: str) -> None:
    ending = end(**answer)
    assert (ending.status, ending.error) == (ExecutionStatus.FAILED, error)


def test_pickles_are_opened_only_on_request() -> None:
    pickles = {"x": base64.b64encode(pickle.dumps(OrderedDict(a=1))).decode(), "bad": "AAAA"}
    answer = FlowAnswer(succeeded=True, pickles=pickles, output={"y": 2}, left_out={"z": "too large"})
    assert flow_process._ending(answer, flow_process.FlowSettings()).output == {"y": 2}
    opened = flow_process._ending(answer, flow_process.FlowSettings(unpickle=True))
    assert opened.output == {"y": 2, "x": OrderedDict(a=1)}
    assert opened.notes["left_out"].keys() == {"bad", "z"}
