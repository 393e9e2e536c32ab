"""A stage becomes a task graph: placeholders first, then bound values, global ids, and the plan left alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.model import PlanStage
from pytest_execgo.plan.verdict import TaskOutcome
from pytest_execgo.runner.compile import CompiledStage, compile_stage
from pytest_execgo.runner.failure import StageFailed

if TYPE_CHECKING:
    from tests.unit.runner.conftest import Listener

Make = Callable[..., Any]
VALUES = {"workspace": "/w", "fixtures_url": "http://f", "run_id": "run-1", "seed": "7"}


@pytest.fixture
def compiled(listener: Listener) -> Callable[..., CompiledStage]:
    def call(stage: PlanStage, *finished: TaskOutcome, attempt: int = 1) -> CompiledStage:
        before = stage.model_dump()
        by_id = {outcome.task_id: outcome for outcome in finished}
        was = copy.deepcopy({task: (outcome.output, outcome.envelope) for task, outcome in by_id.items()})
        stream = EventStream([listener])
        try:
            return compile_stage(stage, run_id="run-1", attempt=attempt, values=VALUES, finished=by_id, stream=stream)
        finally:
            assert stage.model_dump() == before
            assert {task: (outcome.output, outcome.envelope) for task, outcome in by_id.items()} == was

    return call


def bind(source: str, source_path: str, target: str, target_path: str, **more: Any) -> dict[str, Any]:
    return {
        "source_task_id": source,
        "source_path": source_path,
        "target_task_id": target,
        "target_param_path": target_path,
        **more,
    }


def test_global_ids_carry_run_stage_task_and_attempt(stage: Make, compiled: Make) -> None:
    made = compiled(stage({"id": "b", "type": "noop", "depends_on": ["a", "a"]}, {"id": "a", "type": "noop"}), attempt=3)
    assert made.tasks == [
        {"id": "run-1:s:b:3", "type": "noop", "depends_on": ["run-1:s:a:3"]},
        {"id": "run-1:s:a:3", "type": "noop"},
    ]
    assert list(made.wire_ids.items()) == [("a", "run-1:s:a:3"), ("b", "run-1:s:b:3")]
    assert made.depends_on == {"b": ("a",), "a": ()}
    assert list(made.waits().items()) == [("run-1:s:a:3", ()), ("run-1:s:b:3", ("run-1:s:a:3",))]


def test_no_two_tasks_of_a_run_share_an_id_whatever_they_are_called(stage: Make, compiled: Make) -> None:
    ids = [
        compiled(stage({"id": task, "type": "noop"}, stage_id=name)).wire_ids[task]
        for name, task in [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b%3Ac"), ("a", "b/c"), ("a", "..")]
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(wire.split(":")) == 4 for wire in ids)


def test_only_what_the_plan_says_is_sent(stage: Make, compiled: Make) -> None:
    task = {"id": "a", "type": "runtime", "input": {"x": None}, "retry": 2, "timeout": 5, "annotations": {"k": "v"}}
    assert compiled(stage(task)).tasks == [{**task, "id": "run-1:s:a:1"}]


def test_placeholders_are_filled_everywhere_in_the_arguments(stage: Make, compiled: Make) -> None:
    args = {"args": ["${{ workspace }}/x", {"deep": "${{seed}}${{ run_id }}"}], "n": 1, "kept": "${{ unknown }} $seed {{ seed }}"}
    sent = compiled(stage({"id": "a", "type": "noop", "input": args})).tasks[0]["input"]
    assert sent == {"args": ["/w/x", {"deep": "7run-1"}], "n": 1, "kept": "${{ unknown }} $seed {{ seed }}"}


def test_a_bound_value_is_data_and_never_expanded(stage: Make, compiled: Make, outcome: Make) -> None:
    made = compiled(
        stage({"id": "b", "type": "noop", "input": {"m": "${{ seed }}"}}, bindings=[bind("a", "output.text", "b", "input.x")]),
        outcome("a", {"text": "${{ workspace }} and ${{ seed }}"}),
    )
    assert made.tasks[0]["input"] == {"m": "7", "x": "${{ workspace }} and ${{ seed }}"}


def test_a_value_is_bound_as_it_is_and_copied(stage: Make, compiled: Make, outcome: Make, listener: Listener) -> None:
    source = outcome("a", {"files": [{"name": "n"}]})
    bindings = [bind("a", "output.files", "b", "input.files"), bind("a", "output.files.0.name", "b", "params.deep.name")]
    made = compiled(stage({"id": "b", "type": "noop"}, bindings=bindings), source)
    assert made.tasks[0]["input"] == {"files": [{"name": "n"}]}
    assert made.tasks[0]["params"] == {"deep": {"name": "n"}}
    made.tasks[0]["input"]["files"][0]["name"] = "changed"
    assert source.output == {"files": [{"name": "n"}]}
    applied = listener.events("binding_applied")
    assert [(event.task_id, event.source, event.target) for event in applied] == [
        ("b", "a.output.files", "b.input.files"),
        ("b", "a.output.files.0.name", "b.params.deep.name"),
    ]


def test_a_raw_path_into_the_kernels_envelope_works_too(stage: Make, compiled: Make, outcome: Make) -> None:
    source = outcome("a", {"portable": 1}, runtime={"output": {"output": {"raw": 2}}})
    bindings = [bind("a", "runtime.output.output.raw", "b", "input.raw"), bind("a", "output.portable", "b", "input.portable")]
    assert compiled(stage({"id": "b", "type": "noop"}, bindings=bindings), source).tasks[0]["input"] == {"raw": 2, "portable": 1}


@pytest.mark.parametrize(
    ("value", "text"), [("text", "text"), (5, "5"), (None, "null"), ([1, "ä"], '[1,"ä"]'), ({"a": True}, '{"a":true}')]
)
def test_an_environment_variable_is_text_json_where_it_was_none(
    stage: Make, compiled: Make, outcome: Make, value: object, text: str
) -> None:
    task = {"id": "b", "type": "runtime", "input": {"execution": {"kind": "command", "env": {"OTHER": "x"}}}}
    made = compiled(stage(task, bindings=[bind("a", "output", "b", "input.execution.env.DATA")]), outcome("a", value))
    assert made.tasks[0]["input"]["execution"]["env"] == {"OTHER": "x", "DATA": text}
    json.dumps(made.tasks)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("output.files", "an object with name, size"),
        ("output.name.first", 'the text "n"'),
        ("outputs", "an object with status, output"),
    ],
)
def test_a_required_binding_without_its_source_fails_the_stage_and_says_what_was_there(
    stage: Make, compiled: Make, outcome: Make, listener: Listener, path: str, there: str
) -> None:
    with pytest.raises(StageFailed) as failed:
        compiled(
            stage({"id": "b", "type": "noop"}, bindings=[bind("a", path, "b", "input.x")]), outcome("a", {"name": "n", "size": 1})
        )
    said = failed.value.attribution
    assert (said.layer, said.code, said.retryable) == ("binding", "binding_missing", False)
    assert f"binding a.{path} -> b.input.x: " in said.message
    assert f"path {path!r} leads nowhere" in said.message
    assert there in said.message
    assert failed.value.stage_id == "s"
    (event,) = listener.events("binding_failed")
    assert listener.at(said.evidence[0]) is event
    assert (event.status, event.required, event.error_code, event.task_id) == ("failed", True, "binding_missing", "b")


@pytest.mark.parametrize(("ran", "reason"), [(None, "task 'a' has not run"), ("failed", "task 'a' ended as failed")])
def test_a_binding_to_a_task_that_did_not_succeed_says_so(
    stage: Make, compiled: Make, outcome: Make, ran: str | None, reason: str
) -> None:
    finished = [outcome("a", {"x": 1}, ran)] if ran else []
    with pytest.raises(StageFailed, match=reason):
        compiled(stage({"id": "b", "type": "noop"}, bindings=[bind("a", "output.x", "b", "input.x")]), *finished)


def test_an_optional_binding_without_its_source_is_skipped_and_said(
    stage: Make, compiled: Make, outcome: Make, listener: Listener
) -> None:
    bindings = [bind("a", "output.nothing", "b", "input.x", required=False), bind("a", "output.y", "b", "input.y")]
    made = compiled(stage({"id": "b", "type": "noop", "input": {"x": "default"}}, bindings=bindings), outcome("a", {"y": 2}))
    assert made.tasks[0]["input"] == {"x": "default", "y": 2}
    (event,) = listener.events("binding_failed")
    assert (event.status, event.required) == ("skipped", False)
    assert "output.nothing" in event.reason


def test_a_target_that_can_not_hold_the_value_fails_like_a_missing_source(stage: Make, compiled: Make, outcome: Make) -> None:
    task = {"id": "b", "type": "noop", "input": {"text": "plain"}}
    with pytest.raises(StageFailed, match=r"'input\.text' is the text"):
        compiled(stage(task, bindings=[bind("a", "output", "b", "input.text.deeper")]), outcome("a", 1))
