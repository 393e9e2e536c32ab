"""Scenarios whose plans run in a sandbox: in it, skipped without it, or openly without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-rs", "-p", "no:cacheprovider", "--execgo-framework=crewai"]
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}

CODE = "import json, sys; print(json.dumps({'sum': sum(json.load(sys.stdin)), 'extra': open('data/extra.txt').read()}))"
LOOK = (
    "cat ../outside/canary; cat /etc/shadow; cat ../workspace/given.txt; "
    "(echo > /dev/tcp/127.0.0.1/$PORT) 2>/dev/null && echo reached; echo kept > kept.txt; "
    "printf '%s' \"$RESULT\" > result.json"
)
PLAN = {
    "plan_id": "confined-reference",
    "scenario_id": "confined",
    "framework": "reference",
    "mode": "replay",
    "stages": [
        {
            "stage_id": "numbers",
            "task_graph": {
                "tasks": [{"id": "numbers", "type": "runtime", "input": {"execution": {"kind": "emit", "payload": [1, 2]}}}]
            },
        },
        {
            "stage_id": "code",
            "task_graph": {
                "tasks": [
                    {
                        "id": "code",
                        "type": "runtime",
                        "input": {
                            "execution": {"kind": "code", "language": "python", "code": CODE, "files": {"data/extra.txt": "x"}}
                        },
                        "timeout": 60000,
                    },
                    {
                        "id": "os_code",
                        "type": "code",
                        "input": {"execution": {"kind": "code", "language": "bash", "code": "echo from bash"}},
                        "timeout": 60000,
                    },
                ]
            },
            "bindings": [
                {
                    "source_task_id": "numbers",
                    "source_path": "output",
                    "target_task_id": "code",
                    "target_param_path": "input.execution.stdin",
                }
            ],
        },
        {
            "stage_id": "look",
            "task_graph": {
                "tasks": [
                    {
                        "id": "look",
                        "type": "runtime",
                        "input": {
                            "execution": {
                                "kind": "script",
                                "script": LOOK,
                                "interpreter": "bash",
                                "cwd": "${{ workspace }}",
                                "env": {"RESULT": "", "PORT": "1"},
                            },
                            "sandbox": {"profile": "plain", "network_enabled": True},
                        },
                        "timeout": 60000,
                    }
                ]
            },
            "bindings": [
                {
                    "source_task_id": "code",
                    "source_path": "output.stdout",
                    "target_task_id": "look",
                    "target_param_path": "input.execution.env.RESULT",
                }
            ],
            "expected_artifacts": ["kept.txt", "result.json"],
        },
    ],
}
VERIFIER = """
import json
from pytest_execgo import Verdict

def verify(context):
    problems = []
    if json.loads((context.workspace / "result.json").read_text()) != {"sum": 3, "extra": "x"}:
        problems.append("the code computed something else")
    if context.tasks["os_code"].output["stdout"] != "from bash\\n":
        problems.append("the os task's code did not run")
    look = context.tasks["look"].output["stdout"]
    if look != "given":
        problems.append(f"the script saw {look!r}")
    isolation = context.tasks["look"].envelope["result"]["isolation"]
    if isolation["effective"] != "native" or isolation["network"] != "none":
        problems.append(f"the script was in {isolation}")
    return Verdict.of(problems)
"""


def project(folder: Path, sandbox: str) -> None:
    scenario = folder / "scenarios" / "confined"
    (scenario / "fixtures").mkdir(parents=True)
    (scenario / "fixtures" / "given.txt").write_text("given")
    (scenario / "reference_plan.json").write_text(json.dumps(PLAN))
    (scenario / "verifier.py").write_text(VERIFIER)
    (scenario / "scenario.yaml").write_text(
        "id: confined\ndescription: code and a script in a sandbox\nseed: 1\nobjective: compute\nfixtures: fixtures\n"
        "verifier: verifier.py:verify\nallowed_tools: [runtime.emit, runtime.code, runtime.script, os.code]\n"
        f"reference_plan: reference_plan.json\nsandbox: {sandbox}\n"
    )


def run_pytest(folder: Path, *arguments: str, **environment: str) -> str:
    env = {**os.environ, **environment}
    finished = subprocess.run([*PYTEST, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False)
    return finished.stdout + finished.stderr


def read_result(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the one run's result, and its timeline."""
    (path,) = folder.glob("var/runs/*/result.json")
    lines = path.with_name("timeline.jsonl").read_text().splitlines()
    return json.loads(path.read_text()), [json.loads(line) for line in lines]


def need_native() -> None:
    words = [sys.executable, "-m", "pytest_execgo.sandbox", "check", "--mode", "native"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"mode native can't be had here: {tried.stdout}")


def test_code_and_commands_of_a_plan_run_in_the_scenarios_sandbox(tmp_path: Path) -> None:
    need_native()
    project(tmp_path, "native")
    (tmp_path / "var" / "runs" / "outside").mkdir(parents=True)
    (tmp_path / "var" / "runs" / "outside" / "canary").write_text("canary")
    out = run_pytest(tmp_path)
    assert "1 passed" in out, out
    result, timeline = read_result(tmp_path)
    assert result["sandbox"] == {"requested": "native", "effective": "native", "reason": None}
    assert [row["metadata"] for row in timeline if row["event_type"] == "sandbox_chosen"] == [result["sandbox"]]
    assert "native (native was asked for)" in Path(result["artifacts"]["run_dir"], "summary.md").read_text()


def test_a_required_sandbox_that_can_not_be_had_skips_the_cell(tmp_path: Path) -> None:
    project(tmp_path, "docker")
    out = run_pytest(tmp_path, **NO_ENGINE)
    assert "1 skipped" in out, out
    assert "requires the sandbox 'docker', which can't be had: no container engine answers" in out
    result, _ = read_result(tmp_path)
    assert (result["outcome"], result["sandbox"]["effective"]) == ("skipped", None)


def test_one_that_is_not_required_is_done_without_and_said(tmp_path: Path) -> None:
    project(tmp_path, "{mode: docker, required: false}")
    plan = json.loads((tmp_path / "scenarios/confined/reference_plan.json").read_text())
    plain = {"kind": "script", "script": "id -u > kept.txt", "cwd": "${{ workspace }}"}
    tasks = [{"id": "plain", "type": "runtime", "input": {"execution": plain}}]
    plan["stages"] = [{"stage_id": "plain", "task_graph": {"tasks": tasks}, "expected_artifacts": ["kept.txt"]}]
    (tmp_path / "scenarios/confined/reference_plan.json").write_text(json.dumps(plan))
    verifier = f"def verify(context): assert (context.workspace / 'kept.txt').read_text() == '{os.getuid()}\\n'"
    (tmp_path / "scenarios/confined/verifier.py").write_text(f"{verifier}; return Verdict(passed=True)\n")
    with (tmp_path / "scenarios/confined/verifier.py").open("a") as file:
        file.write("from pytest_execgo import Verdict\n")
    out = run_pytest(tmp_path, **NO_ENGINE)
    assert "1 passed" in out, out
    assert "1 run asked for the sandbox docker and ran without it: no container engine" in out
    result, timeline = read_result(tmp_path)
    assert result["sandbox"]["effective"] is None
    assert "no container engine" in result["sandbox"]["reason"]
    assert [row["status"] for row in timeline if row["event_type"] == "sandbox_chosen"] == ["skipped"]


@pytest.fixture
def bare_runtime() -> Iterator[str]:
    """The address of something that is ready like a runtime, and knows nothing of sandboxes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = self.path == "/readyz"
            body = b"{}" if ready else b"404 page not found"
            self.send_response(200 if ready else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_codegen_runs_on_a_runtime_that_knows_no_sandboxes(
    tmp_path: Path, command_line: Any, free_ports: list[int], bare_runtime: str
) -> None:
    kernel, runtime, fixtures = map(str, free_ports)
    up = command_line("harness", "up", "--port", kernel, "--runtime-port", runtime, "--fixtures-port", fixtures, "--dir", "stack")
    assert up.returncode == 0, up.stderr
    try:
        urls = [f"--execgo-url=http://127.0.0.1:{kernel}", f"--execgo-fixtures-url=http://127.0.0.1:{fixtures}"]
        backend = ["--execgo-backend=external", *urls, f"--execgo-runtime-url={bare_runtime}"]
        out = run_pytest(tmp_path, *backend, "--execgo-scenario=codegen_exec")
    finally:
        assert command_line("harness", "down", "--dir", "stack").returncode == 0
    assert "1 passed" in out, out
    result, _ = read_result(tmp_path)
    assert result["sandbox"]["effective"] is None
    assert "knows no sandboxes" in result["sandbox"]["reason"]


def test_codegen_runs_its_untrusted_code_confined(tmp_path: Path) -> None:
    need_native()
    out = run_pytest(tmp_path, "--execgo-scenario=codegen_exec")
    assert "1 passed" in out, out
    result, _ = read_result(tmp_path)
    assert result["sandbox"]["effective"] == "native"
    snapshots = Path(result["artifacts"]["run_dir"], "execgo_snapshots.jsonl").read_text()
    assert snapshots.count('"effective":"native"') >= 3, "each of its three commands was confined"
