"""One portable view of a finished task, whatever kernel and runtime it ran on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.runner.outcome import portable_output, task_outcome

FALLBACK = {"stdout": "x", "stderr": "e", "exit_code": 3}


@pytest.mark.parametrize(
    ("envelope", "output"),
    [
        ({"type": "os", "result": {"stdout": "{}", "exit_code": 0}}, {"stdout": "{}", "exit_code": 0}),
        ({"type": "os", "result": {"output": 1}}, {"output": 1}),
        ({"type": "cli-skills", "result": "text"}, "text"),
        ({"type": "os"}, None),
        ({"type": "runtime"}, None),
        ({"type": "runtime", "result": None}, None),
        ({"type": "runtime", "result": "text"}, "text"),
        ({"type": "runtime", "result": {"output": {"a": 1}, "stdout": '{"b": 2}'}}, {"a": 1}),
        ({"type": "runtime", "result": {"output": None, "stdout": "1"}}, None),
        ({"type": "runtime", "result": {"stdout": '{"a": [1]}\n'}}, {"a": [1]}),
        ({"type": "runtime", "result": {"stdout": " 5 "}}, 5),
        ({"type": "runtime", "result": {"stdout": "null"}}, None),
        ({"type": "runtime", "result": {"stdout": '"half \\ud800"'}}, "half \ufffd"),
        ({"type": "runtime", "result": {"stdout": "x", "stderr": "e", "exit_code": 3}}, FALLBACK),
        ({"type": "runtime", "result": {"stdout": ""}}, {"stdout": "", "stderr": None, "exit_code": None}),
        ({"type": "runtime", "result": {"stdout": None}}, {"stdout": None, "stderr": None, "exit_code": None}),
        ({"type": "runtime", "result": {"status": "failed"}}, None),
        ({}, None),
    ],
)
def test_the_portable_view(envelope: dict[str, Any], output: Any) -> None:
    assert portable_output(envelope) == output


@pytest.mark.parametrize(
    "stdout", ["NaN", "[Infinity]", '{"a": 1e999}', "9" * 5000, "[" * 100_000, "[" * 200 + "]" * 200, "{'a': 1}"]
)
def test_what_could_not_be_passed_on_as_json_stays_text(stdout: str) -> None:
    output = portable_output({"type": "runtime", "result": {"stdout": stdout, "stderr": "", "exit_code": 0}})
    assert output == {"stdout": stdout, "stderr": "", "exit_code": 0}
    json.dumps(output, allow_nan=False)


def test_an_outcome_has_the_kernels_own_times_to_the_nanosecond() -> None:
    runtime = {"started_at": "2026-01-02T03:04:05.123456789Z", "finished_at": "2026-01-02T05:04:05.2+02:00", "attempt": 3}
    envelope = {"id": "w", "type": "os", "status": "success", "result": {"ok": True}, "runtime": runtime}
    outcome = task_outcome("s", "t", "w", envelope)
    assert (outcome.stage_id, outcome.task_id, outcome.wire_id, outcome.status) == ("s", "t", "w", "success")
    assert outcome.started_ns == 1_767_323_045_123_456_789
    assert outcome.finished_ns == 1_767_323_045_200_000_000
    assert (outcome.attempt, outcome.output, outcome.envelope) == (3, {"ok": True}, envelope)


@pytest.mark.parametrize("runtime", [None, {}, {"started_at": None, "finished_at": "", "attempt": None}, "text"])
def test_a_task_that_never_ran_has_no_times(runtime: object) -> None:
    outcome = task_outcome("s", "t", "w", {"status": "skipped", "runtime": runtime})
    assert (outcome.started_ns, outcome.finished_ns, outcome.attempt, outcome.output) == (None, None, 0, None)


@pytest.mark.parametrize("wrong", [{"started_at": "yesterday"}, {"finished_at": "2026-01-02"}, {"attempt": "x"}, {"attempt": [1]}])
def test_an_answer_that_makes_no_sense_names_the_task(wrong: dict[str, Any]) -> None:
    with pytest.raises(ExecGoError, match="task run:s:t:1") as refused:
        task_outcome("s", "t", "run:s:t:1", {"status": "success", "runtime": wrong})
    assert refused.value.code == "bad_answer"


def test_a_status_that_is_missing_is_unknown() -> None:
    assert task_outcome("s", "t", "w", {}).status == "unknown"
