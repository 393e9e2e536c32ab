"""The action adapter beyond the contract suite: what ExecGo would choke on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_execgo.kernel.actions.answer import encode_task
from pytest_execgo.kernel.actions.catalogue import BY_NAME, CAPABILITIES, KINDS, TOOLS
from pytest_execgo.kernel.actions.request import read_request
from pytest_execgo.kernel.actions.translate import translate
from pytest_execgo.kernel.submission import Refused


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def translated(kind: str, given: str) -> list[dict[str, Any]]:
    return translate(read_request(f'{{"action_id":"a","action":{{"kind":"{kind}","input":{given}}}}}'.encode()))


@pytest.mark.parametrize("depth", [600, 5_000])
@pytest.mark.parametrize("kind", ["file.read", "runtime.script"])
def test_input_that_is_too_deep_is_refused_not_lost(kind: str, depth: int) -> None:
    with pytest.raises(Refused, match="invalid adapter action: input is nested too deeply"):
        translated(kind, f'{{"script":"x","limits":{nested(depth)}}}')


def test_deep_input_that_is_passed_on_as_it_is_may_be_deep() -> None:
    (task,) = translated("os.noop", nested(2_000))
    assert json.loads(encode_task(task)[: encode_task(task).index(',"input"')] + "}")["tool_name"] == "noop"
    assert nested(2_000) in encode_task(task)


def test_a_run_that_is_too_deep_is_refused() -> None:
    graph = f'{{"tasks":[{{"id":"g","type":"noop","runtime":{{"output":{nested(700)}}}}}]}}'
    (task,) = translated("task_graph.submit", graph)
    with pytest.raises(Refused, match="nested too deeply"):
        encode_task(task)


def test_a_null_task_is_refused() -> None:
    with pytest.raises(Refused, match="invalid adapter action: task id is required"):
        translated("task_graph.submit", '{"tasks":[null]}')


def test_the_documents_tell_of_every_kind_and_alias() -> None:
    assert json.loads(CAPABILITIES)["action_kinds"] == [kind.name for kind in KINDS]
    told = {alias for tool in json.loads(TOOLS)["tools"] for alias in (tool["action_kind"], *tool.get("aliases", ()))}
    assert set(BY_NAME) - told == {"dns", "tcp", "sleep", "noop"}
    assert told <= set(BY_NAME)
