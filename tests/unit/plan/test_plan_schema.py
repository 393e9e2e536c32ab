"""JSON Schemas: what the models accept and refuse, the schemas do too; and their export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from pytest_execgo.cli import main
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.document import SUFFIXES, read_document
from pytest_execgo.plan.schema import MODELS, schema_of

RESULT = {
    "run_id": "r",
    "sweep_id": "s",
    "cell_id": "c",
    "scenario_id": "x",
    "framework": "langgraph",
    "mode": "replay",
    "chaos_profile": "none",
    "repetition": 0,
    "seed": 1,
    "outcome": "passed",
    "artifacts": {"run_dir": "d"},
    "started_at": "t",
    "finished_at": "t",
    "backend": "embedded",
}
TASK = {"id": "a", "type": "noop"}
STAGE = {"stage_id": "s", "task_graph": {"tasks": [TASK]}}
BINDING = {"source_task_id": "a", "source_path": "output", "target_task_id": "b", "target_param_path": "input.x"}
SCENARIO = {
    "id": "x",
    "description": "d",
    "seed": 1,
    "objective": "o",
    "prompt_pack": {"system": "s.md", "user": "u.md"},
    "verifier": "v.py:f",
    "allowed_tools": ["os.file"],
    "reference_plan": "p.json",
}
CHAOS = {
    "id": "x",
    "description": "d",
    "faults": [{"action": "kill", "target": "kernel", "trigger": {"phase": "runtime", "occurrence": 2}, "probability": 0.5}],
}

GOOD: dict[str, dict[str, Any]] = {
    "plan_context": {
        "scenario_id": "x",
        "framework": "f",
        "mode": "live",
        "seed": 1,
        "objective": "o",
        "scenario_input": {},
        "prompt_pack": {},
        "allowed_tools": [],
    },
    "standard_plan": {"plan_id": "p", "scenario_id": "x", "framework": "f", "mode": "live", "stages": [STAGE]},
    "plan_stage": {**STAGE, "bindings": [BINDING]},
    "binding": BINDING,
    "submit_policy": {"poll_interval_ms": 5},
    "benchmark_run_request": {"scenarios": ["x"], "frameworks": ["f"]},
    "benchmark_result": RESULT,
    "benchmark_summary": {
        "sweep_id": "s",
        "started_at": "t",
        "finished_at": "t",
        "wall_time_ms": 1.5,
        "totals": {"passed": 1},
        "groups": [],
        "runs": [RESULT],
    },
    "chaos_profile": CHAOS,
    "timeline_event": {
        "run_id": "r",
        "seq": 1,
        "timestamp": "t",
        "monotonic_ns": 1,
        "phase": "plan",
        "event_type": "e",
        "status": "ok",
        "framework": "f",
        "scenario_id": "x",
    },
    "execution_request": {"id": "x", "language": "python", "code": "1"},
    "sandbox_config": {"mode": "native"},
    "execution_result": {"id": "x", "success": True, "exit_code": 0, "stdout": "", "stderr": "", "duration": 0.1},
    "checkpoint": {"id": "c", "thread_id": "t", "state": {}, "created_at": "2024-01-01T00:00:00Z"},
    "execution_context": {"run_id": "r", "thread_id": "t"},
    "verdict": {"passed": True},
    "scenario": SCENARIO,
    "chaos": CHAOS,
    "tool.os.shell": {"command": "ls"},
    "tool.os.file": {"action": "read", "path": "/a"},
    "tool.os.http": {"url": "http://a", "headers": {"A": "b"}},
    "tool.os.dns": {"name": "a"},
    "tool.os.tcp": {"address": "a:1"},
    "tool.os.sleep": {"duration_ms": 1},
    "tool.os.noop": {"message": "m"},
    "tool.runtime.command": {"execution": {"kind": "command", "program": "p"}, "limits": {"pids_max": 1}},
    "tool.runtime.script": {"execution": {"kind": "script", "script": "s"}},
    "tool.runtime.code": {"execution": {"kind": "code", "language": "go", "code": "c", "files": {"a.txt": "b"}}},
    "tool.os.code": {"execution": {"kind": "code", "language": "bash", "code": "c"}, "sandbox": {"mode": "native"}},
    "tool.runtime.emit": {"execution": {"kind": "emit", "payload": 1}},
    "tool.runtime.sleep": {"execution": {"kind": "sleep"}},
    "tool.runtime.fail": {"execution": {"kind": "fail"}},
    "tool.cli.run": {"command": "c"},
}
NOTHING_REQUIRED: dict[str, dict[str, Any]] = {
    "sandbox_config": {"mode": "vm"},
    "submit_policy": {"stop_on_failure": "x"},
    "tool.os.shell": {"command": 1},
    "tool.os.sleep": {"duration_ms": -1},
    "tool.os.noop": {"message": 1},
}

BAD: list[tuple[str, dict[str, Any]]] = [
    ("standard_plan", {"stages": []}),
    ("standard_plan", {"mode": "replya"}),
    ("standard_plan", {"scenario_id": "a b"}),
    ("standard_plan", {"stages": [{**STAGE, "task_graph": {"tasks": [{**TASK, "timeout": -1}]}}]}),
    ("standard_plan", {"stages": [{**STAGE, "task_graph": {"tasks": [{**TASK, "retry": True}]}}]}),
    ("standard_plan", {"stages": [{**STAGE, "task_graph": {"tasks": [{**TASK, "typo": 1}]}}]}),
    ("plan_stage", {"task_graph": {"tasks": []}}),
    ("binding", {"source_path": ""}),
    ("submit_policy", {"poll_interval_ms": 0}),
    ("scenario", {"prompt_pack": {"system": "s"}}),
    ("scenario", {"allowed_tools": []}),
    ("chaos", {"faults": [{"action": "kill", "target": "kernel", "trigger": {"phase": "lunch"}}]}),
    ("chaos", {"faults": [{"action": "kill", "target": "kernel", "trigger": {"phase": "plan", "occurrence": 0}}]}),
    ("chaos", {"faults": [{"action": "kill", "trigger": {"phase": "plan"}}]}),
    ("chaos", {"faults": [{"action": "kill", "target": "kernel", "trigger": {"phase": "plan"}, "probability": 1.5}]}),
    ("chaos", {"recovery_expectation": "should_recove"}),
    ("execution_request", {"language": "perl"}),
    ("sandbox_config", {"max_memory_mb": 0}),
]


def errors(name: str, document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema_of(name)).iter_errors(document)]


def objects_in(schema: Any) -> list[dict[str, Any]]:
    """Every sub-schema that names its properties."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return ([schema] if isinstance(schema, dict) and "properties" in schema else []) + [
        found for part in inner for found in objects_in(part)
    ]


def test_every_model_has_an_example_here() -> None:
    assert GOOD.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_schemas_are_valid_strict_and_named(name: str) -> None:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:pytest-execgo:schema:{name}:0.1.0"
    assert schema["title"] == MODELS[name].__name__
    assert all(found.get("additionalProperties") is False for found in objects_in(schema))


@pytest.mark.parametrize("name", MODELS)
def test_schema_and_model_take_the_good_and_refuse_unknown_and_missing_fields(name: str) -> None:
    model, good = MODELS[name], GOOD[name]
    model.model_validate(good)
    assert errors(name, good) == []
    for broken in ({**good, "unknown": 1}, NOTHING_REQUIRED.get(name) or dict(list(good.items())[1:])):
        assert errors(name, broken)
        with pytest.raises(ValidationError):
            model.model_validate(broken)


@pytest.mark.parametrize(("name", "change"), BAD)
def test_schema_and_model_refuse_the_same(name: str, change: dict[str, Any]) -> None:
    broken = {**GOOD[name], **change}
    assert errors(name, broken)
    with pytest.raises(ValidationError):
        MODELS[name].model_validate(broken)


def test_the_scenario_schema_knows_the_tools() -> None:
    assert "is not one of" in errors("scenario", {**SCENARIO, "allowed_tools": ["os.shel"]})[0]


@pytest.mark.parametrize(("bundle", "pattern", "schema"), [("scenarios", "*/scenario", "scenario"), ("chaos", "*", "chaos")])
def test_built_in_files_fit_their_schemas(bundle: Any, pattern: str, schema: str) -> None:
    files = [file for suffix in SUFFIXES for file in bundled(bundle).glob(pattern + suffix)]
    assert files
    assert {str(file): errors(schema, read_document(file).data) for file in files} == {str(file): [] for file in files}


def test_built_in_reference_plans_fit_the_schema_of_plans() -> None:
    files = list(bundled("scenarios").glob("*/reference_plan.json"))
    assert files
    assert {str(file): errors("standard_plan", read_document(file).data) for file in files} == {str(file): [] for file in files}


def test_export_writes_every_schema_says_so_and_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "schemas"
    assert main(["schema", "export", "--out", str(out)]) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert first.keys() == {f"{name}.schema.json" for name in MODELS}
    assert capsys.readouterr().out.splitlines() == [str(out / f"{name}.schema.json") for name in MODELS]
    assert json.loads(first["scenario.schema.json"]) == schema_of("scenario")
    (out / "binding.schema.json").write_text("torn")
    assert main(["schema", "export", "--out", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_export_to_a_place_that_is_no_folder_is_a_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["schema", "export", "--out", str(tmp_path / "file")]) == 2
    assert "can't write" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["export"], ["import", "--out", "x"]])
def test_wrong_arguments_end_with_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["schema", *arguments])
    assert caught.value.code == 2
    assert "usage: python -m pytest_execgo schema" in capsys.readouterr().err
