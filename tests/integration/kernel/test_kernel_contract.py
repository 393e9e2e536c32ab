"""ExecGo's contract, case by case: what is submitted, what is answered, what the task's envelope is in the end."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z\Z")
OK = {"status": "success", "run_status": "success"}
BAD = {"status": "failed", "run_status": "failed"}


def failure(message: str, code: str = "external_failure", source: str = "executor", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **more, "source": source}


def os_task(tool: str, params: Any = None) -> dict[str, Any]:
    given = {} if params is None else {"params": params}
    again = {} if params is None else {"input": params}
    return {"type": "os", **given, "tool_name": tool, **again, "execution_category": "os"}


def good(tool: str, params: Any, result: Any) -> dict[str, Any]:
    run = {"status": "success", "output": result, "attempt": 1, "details": None}
    return {**os_task(tool, params), **OK, "result": result, "runtime": run}


def bad(tool: str, params: Any, message: str, result: Any = None) -> dict[str, Any]:
    run = {"status": "failed", "output": result, "attempt": 1, "details": None, "error": failure(message)}
    kept = {} if result is None else {"result": result}
    return {**os_task(tool, params), **BAD, **kept, "runtime": run, "error": message}


NO_OUTPUT = {"exit_code": -1, "runner": "direct", "stderr": "", "stdout": ""}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "noop": ({"type": "noop", "params": {"message": "hi"}}, good("noop", {"message": "hi"}, {"message": "hi", "ok": True})),
    "noop-without-params": ({"type": "noop"}, good("noop", None, {"message": "", "ok": True})),
    "null-params-are-none": ({"type": "noop", "params": None}, good("noop", None, {"message": "", "ok": True})),
    "noop-wrong-type": (
        {"type": "noop", "params": {"message": 1}},
        bad(
            "noop",
            {"message": 1},
            "parse noop params: json: cannot unmarshal number into Go struct field NoopParams.message of type string",
        ),
    ),
    "sleep": ({"type": "sleep", "params": {"duration_ms": 0}}, good("sleep", {"duration_ms": 0}, {"slept_ms": 0})),
    "sleep-without-params": ({"type": "sleep"}, bad("sleep", None, "parse sleep params: unexpected end of JSON input")),
    "sleep-negative": (
        {"type": "sleep", "params": {"duration_ms": -1}},
        bad("sleep", {"duration_ms": -1}, "duration_ms must be non-negative"),
    ),
    "sleep-too-long": (
        {"type": "sleep", "params": {"duration_ms": 10**14}},
        bad("sleep", {"duration_ms": 10**14}, "duration_ms exceeds max of 600000 ms"),
    ),
    "sleep-fraction": (
        {"type": "sleep", "params": {"duration_ms": 1.5}},
        bad(
            "sleep",
            {"duration_ms": 1.5},
            "parse sleep params: json: cannot unmarshal number 1.5 into Go struct field SleepParams.duration_ms of type int64",
        ),
    ),
    "shell-not-allowed": (
        {"type": "shell", "params": {"command": "/usr/bin/true"}},
        bad("shell", {"command": "/usr/bin/true"}, 'command "true" is not in the allowed whitelist'),
    ),
    "shell-nothing": (
        {"type": "shell", "params": {"script": "  "}},
        bad("shell", {"script": "  "}, "either script or command is required"),
    ),
    "shell-args-wrong": (
        {"type": "shell", "params": {"args": "x"}},
        bad(
            "shell",
            {"args": "x"},
            "parse shell params: json: cannot unmarshal string into Go struct field ShellParams.args of type []string",
        ),
    ),
    "shell-runner": (
        {"type": "shell", "params": {"script": "x", "runner": "Bash"}},
        bad(
            "shell",
            {"script": "x", "runner": "Bash"},
            'invalid runner "Bash" (supported for script: auto, powershell, cmd, sh)',
        ),
    ),
    "shell-direct-script": (
        {"type": "shell", "params": {"script": "x", "runner": " DIRECT"}},
        bad("shell", {"script": "x", "runner": " DIRECT"}, 'runner " DIRECT" cannot be used with script'),
    ),
    "shell-command": (
        {"type": "shell", "params": {"command": "echo", "args": ["a b", "<"]}},
        good(
            "shell",
            {"command": "echo", "args": ["a b", "<"]},
            {"exit_code": 0, "runner": "direct", "stderr": "", "stdout": "a b <\n"},
        ),
    ),
    "shell-script": (
        {"type": "shell", "params": {"script": "printf out; printf err >&2; exit 3"}},
        bad(
            "shell",
            {"script": "printf out; printf err >&2; exit 3"},
            "command failed: exit status 3",
            {"exit_code": 3, "runner": "sh", "stderr": "err", "stdout": "out"},
        ),
    ),
    "shell-signal": (
        {"type": "shell", "params": {"script": "kill -TERM $$"}},
        bad(
            "shell",
            {"script": "kill -TERM $$"},
            "command failed: signal: terminated",
            {"exit_code": -1, "runner": "sh", "stderr": "", "stdout": ""},
        ),
    ),
    "shell-no-such-program": (
        {"type": "shell", "params": {"command": "where"}},
        bad(
            "shell",
            {"command": "where"},
            'command failed: exec: "where": executable file not found in $PATH',
            NO_OUTPUT,
        ),
    ),
    "shell-no-such-path": (
        {"type": "shell", "params": {"command": "/nowhere/echo"}},
        bad(
            "shell",
            {"command": "/nowhere/echo"},
            "command failed: fork/exec /nowhere/echo: no such file or directory",
            NO_OUTPUT,
        ),
    ),
    "shell-no-such-dir": (
        {"type": "shell", "params": {"command": "echo", "dir": "/nowhere"}},
        bad(
            "shell",
            {"command": "echo", "dir": "/nowhere"},
            "command failed: chdir /nowhere: no such file or directory",
            NO_OUTPUT,
        ),
    ),
    "shell-dir": (
        {"type": "shell", "params": {"script": "pwd", "dir": "/usr"}},
        good(
            "shell",
            {"script": "pwd", "dir": "/usr"},
            {"exit_code": 0, "runner": "sh", "stderr": "", "stdout": "/usr\n"},
        ),
    ),
    "shell-environment": (
        {"type": "shell", "params": {"script": "echo $VISIBLE; env | grep -c ^EXECGO_ ; true"}},
        good(
            "shell",
            {"script": "echo $VISIBLE; env | grep -c ^EXECGO_ ; true"},
            {"exit_code": 0, "runner": "sh", "stderr": "", "stdout": "yes\n0\n"},
        ),
    ),
    "shell-bytes": (
        {"type": "shell", "params": {"script": "printf 'a\\377b'"}},
        good(
            "shell",
            {"script": "printf 'a\\377b'"},
            {"exit_code": 0, "runner": "sh", "stderr": "", "stdout": "a\ufffdb"},
        ),
    ),
    "file-nothing": ({"type": "file", "params": {}}, bad("file", {}, "path is required")),
    "file-action": (
        {"type": "file", "params": {"action": "Read", "path": "x"}},
        bad(
            "file",
            {"action": "Read", "path": "x"},
            'unknown action "Read" (supported: read, write, append, delete, stat)',
        ),
    ),
    "file-absent": (
        {"type": "file", "params": {"action": "read", "path": "./no/../nothing"}},
        bad(
            "file",
            {"action": "read", "path": "./no/../nothing"},
            "read file: open nothing: no such file or directory",
        ),
    ),
    "file-folder": (
        {"type": "file", "params": {"action": "read", "path": "/usr/"}},
        bad("file", {"action": "read", "path": "/usr/"}, "read file: read /usr: is a directory"),
    ),
    "file-delete-absent": (
        {"type": "file", "params": {"action": "delete", "path": "nothing"}},
        bad("file", {"action": "delete", "path": "nothing"}, "delete file: remove nothing: no such file or directory"),
    ),
    "file-stat-absent": (
        {"type": "file", "params": {"action": "stat", "path": "nothing"}},
        bad("file", {"action": "stat", "path": "nothing"}, "stat file: stat nothing: no such file or directory"),
    ),
    "file-under-a-file": (
        {"type": "file", "params": {"action": "write", "path": "/etc/hostname/x/y"}},
        bad(
            "file",
            {"action": "write", "path": "/etc/hostname/x/y"},
            "create directory: mkdir /etc/hostname: not a directory",
        ),
    ),
    "file-over-a-folder": (
        {"type": "file", "params": {"action": "write", "path": "/usr"}},
        bad("file", {"action": "write", "path": "/usr"}, "open file: open /usr: is a directory"),
    ),
    "file-nul": (
        {"type": "file", "params": {"action": "read", "path": "a\x00b"}},
        bad("file", {"action": "read", "path": "a\x00b"}, "read file: open a\x00b: invalid argument"),
    ),
    "http-nothing": ({"type": "http", "params": {}}, bad("http", {}, "url is required")),
    "http-refused": (
        {"type": "http", "params": {"url": "http://127.0.0.1:1/x"}},
        bad(
            "http",
            {"url": "http://127.0.0.1:1/x"},
            'http request failed: Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
    ),
    "http-scheme": (
        {"type": "http", "params": {"url": "ftp://h/", "method": "POST"}},
        bad(
            "http",
            {"url": "ftp://h/", "method": "POST"},
            'http request failed: Post "ftp://h/": unsupported protocol scheme "ftp"',
        ),
    ),
    "http-method": (
        {"type": "http", "params": {"url": "http://127.0.0.1:1", "method": "A B"}},
        bad(
            "http",
            {"url": "http://127.0.0.1:1", "method": "A B"},
            'create request: net/http: invalid method "A B"',
        ),
    ),
    "http-control": (
        {"type": "http", "params": {"url": "http://127.0.0.1:1/\n"}},
        bad(
            "http",
            {"url": "http://127.0.0.1:1/\n"},
            'create request: parse "http://127.0.0.1:1/\\n": net/url: invalid control character in URL',
        ),
    ),
    "http-header": (
        {"type": "http", "params": {"url": "http://127.0.0.1:1", "headers": {"A": "x\r\nB: y"}}},
        bad(
            "http",
            {"url": "http://127.0.0.1:1", "headers": {"A": "x\r\nB: y"}},
            'http request failed: Get "http://127.0.0.1:1": net/http: invalid header field value for "A"',
        ),
    ),
    "tcp-nothing": ({"type": "tcp", "params": {}}, bad("tcp", {}, "address is required (host:port)")),
    "tcp-timeout": (
        {"type": "tcp", "params": {"address": "h:1", "timeout_ms": 60001}},
        bad("tcp", {"address": "h:1", "timeout_ms": 60001}, "timeout_ms exceeds max of 60000 ms"),
    ),
    "tcp-refused": (
        {"type": "tcp", "params": {"address": "127.0.0.1:1"}},
        bad("tcp", {"address": "127.0.0.1:1"}, "tcp dial: dial tcp 127.0.0.1:1: connect: connection refused"),
    ),
    "tcp-no-port": (
        {"type": "tcp", "params": {"address": "localhost"}},
        bad("tcp", {"address": "localhost"}, "tcp dial: dial tcp: address localhost: missing port in address"),
    ),
    "tcp-colons": (
        {"type": "tcp", "params": {"address": "::1:80"}},
        bad("tcp", {"address": "::1:80"}, "tcp dial: dial tcp: address ::1:80: too many colons in address"),
    ),
    "dns-nothing": ({"type": "dns", "params": {"name": " "}}, bad("dns", {"name": " "}, "name is required")),
    "dns-record": (
        {"type": "dns", "params": {"name": "h", "record": "MX"}},
        bad("dns", {"name": "h", "record": "MX"}, 'record must be one of: ip, txt, cname (got "MX")'),
    ),
    "dns-literal": (
        {"type": "dns", "params": {"name": "127.0.0.1", "record": " IP"}},
        good(
            "dns",
            {"name": "127.0.0.1", "record": " IP"},
            {"addrs": ["127.0.0.1"], "name": "127.0.0.1", "record": "ip"},
        ),
    ),
    "canonical-style": (
        {"type": "os", "tool_name": "noop", "input": {"message": "x"}, "annotations": {"b": "1", "a": "<"}},
        {
            "type": "os",
            "params": {"message": "x"},
            "tool_name": "noop",
            "input": {"message": "x"},
            "annotations": {"a": "<", "b": "1"},
            **OK,
            "result": {"message": "x", "ok": True},
            "runtime": {"status": "success", "output": {"message": "x", "ok": True}, "attempt": 1, "details": None},
        },
    ),
    "os-without-tool": (
        {"type": "os", "retry": -1},
        {
            "type": "os",
            "retry": -1,
            **BAD,
            "runtime": {"status": "failed", "attempt": 1, "error": failure('unknown os tool "os"')},
            "error": 'unknown os tool "os"',
        },
    ),
    "not-in-this-version": (
        {"type": "cli-skills", "input": {"command": "x"}},
        {
            "type": "cli-skills",
            "input": {"command": "x"},
            **BAD,
            "runtime": {
                "status": "failed",
                "error": failure('executor "cli-skills" is not part of this version', "internal", "scheduler"),
            },
            "error": 'executor "cli-skills" is not part of this version',
        },
    ),
    "timeout-and-retry": (
        {"type": "sleep", "params": {"duration_ms": 60000}, "timeout": 20, "retry": 1},
        {
            **os_task("sleep", {"duration_ms": 60000}),
            "retry": 1,
            "timeout": 20,
            **BAD,
            "runtime": {
                "status": "failed",
                "output": None,
                "attempt": 2,
                "details": None,
                "error": failure("context deadline exceeded", "timeout", "scheduler", retryable=True),
            },
            "error": "context deadline exceeded",
        },
    ),
}


def without_times(envelope: dict[str, Any]) -> dict[str, Any]:
    """Check the parts that differ from run to run and take them out."""
    envelope = dict(envelope)
    for name in ("created_at", "updated_at"):
        assert _TIME.match(envelope.pop(name))
    if "runtime" in envelope:
        run = envelope["runtime"] = dict(envelope["runtime"])
        started, finished = run.pop("started_at"), run.pop("finished_at")
        assert _TIME.match(started)
        assert _TIME.match(finished)
        assert run.pop("duration_ms", 1) > 0  # left out when 0
    return envelope


def in_order(value: Any) -> Any:
    """Make the order of fields part of the comparison."""
    if isinstance(value, dict):
        return [(key, in_order(item)) for key, item in value.items()]
    return [in_order(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES)
def test_a_task_ends_as_execgo_ends_it(kernel: Any, case: str) -> None:
    submitted, expected = CASES[case]
    seen = kernel.run({"id": case, **submitted})[case]
    assert in_order(without_times(seen)) == in_order({"id": case, **expected})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid JSON: EOF"),
        (b"[1]", "invalid JSON: json: cannot unmarshal array into Go value of type models.TaskGraph"),
        (b'{"tasks":[', "invalid JSON: unexpected EOF"),
        (b'{"tasks":[null]}', "task id is required"),
        (b'{"tasks":[]}', "task graph is empty"),
        (b'{"tasks":[{"id":"<","type":"x&y"}]}', "unknown task type: x&y (available: cli-skills, mcp, os, runtime)"),
        (b'{"a":' * 100_000, "invalid JSON: invalid character '{' exceeded max depth"),
        (b'{"tasks":[{"id":"a","retry":' + b"9" * 5000, "invalid JSON: unexpected EOF"),
        (b'{"tasks":[{"id":"a","params":NaN}]}', "invalid JSON: invalid character 'N' looking for beginning of value"),
        (b'{"tasks":[{"id":"\x00"}]}', "invalid JSON: invalid character '\\x00' in string literal"),
        (b"\xef\xbb\xbf{}", "invalid JSON: invalid character '\u00ef' looking for beginning of value"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_refused_submission(kernel: Any, body: bytes, error: str) -> None:
    answer = kernel.call("POST", "/tasks", body)
    assert (answer.status, answer.json) == (400, {"error": error})
    assert answer.headers["content-type"] == "application/json"


def test_html_characters_leave_escaped(kernel: Any) -> None:
    assert kernel.call("POST", "/tasks", b'{"tasks":[{"id":"a","type":"<&>"}]}').text.startswith(
        '{"error":"unknown task type: \\u003c\\u0026\\u003e (available'
    )


def test_what_is_behind_the_first_value_is_ignored(kernel: Any) -> None:
    answer = kernel.call("POST", "/tasks", b'{"TASKS":[{"Id":"first","tYpe":"noop"}]} and {so on')
    assert (answer.status, answer.text) == (202, '{"accepted":1,"task_ids":["first"]}\n')


def test_raw_values_and_hostile_strings_come_back_as_go_sends_them(kernel: Any) -> None:
    body = (
        b'{"tasks":[{"id":"raw","type":"noop","params": {"z": 1.50e3, "n": 123456789012345678901234567890, '
        b'"a": [ "\\u003c\xff\\ud800" ], "z": 2 }, "depends_on": []}]}'
    )
    assert kernel.call("POST", "/tasks", body).status == 202
    kernel.until("raw", lambda found: found["status"] == "success")
    text = kernel.call("GET", "/tasks/raw").text
    raw = '{"z":1.50e3,"n":123456789012345678901234567890,"a":["\\u003c\ufffd\\ud800"],"z":2}'
    assert text.startswith(f'{{"id":"raw","type":"os","params":{raw},"tool_name":"noop","input":{raw},')


def test_a_failure_skips_what_depends_on_it(kernel: Any) -> None:
    tasks = kernel.run(
        {"id": "x", "type": "shell", "params": {"command": "nope"}},
        {"id": "y", "type": "noop", "depends_on": ["x"]},
        {"id": "z", "type": "noop", "depends_on": ["y"], "retry": 2},
    )
    assert in_order(without_times(tasks["y"])) == in_order(
        {
            "id": "y",
            **os_task("noop"),
            "depends_on": ["x"],
            "status": "skipped",
            "error": "dependency x failed",
        }
    )
    assert tasks["z"]["error"] == "dependency y skipped"


def test_run_times_bracket_the_attempt(kernel: Any) -> None:
    task = kernel.run_one("sleep", {"duration_ms": 40})
    run = task["runtime"]
    assert task["created_at"] <= run["started_at"] < run["finished_at"] <= task["updated_at"]
    assert 40 <= run["duration_ms"] < 10_000


def test_files_are_written_read_and_removed(kernel: Any) -> None:
    def do(action: str, **more: str) -> Any:
        return kernel.run_one("file", {"action": action, "path": "new/folder/f.txt", **more})["result"]

    assert do("write", content="é1") == {"bytes_written": 3}
    assert do("append", content="2") == {"bytes_written": 1}
    assert do("read") == {"content": "é12", "size": 4}
    seen = do("stat")
    assert _TIME.match(seen.pop("mod_time"))
    assert seen == {"is_dir": False, "mode": "-rw-r--r--", "name": "f.txt", "size": 4}
    assert do("delete") == {"deleted": True}
    assert kernel.run_one("file", {"action": "delete", "path": "new"})["error"] == ("delete file: remove new: directory not empty")
    assert kernel.run_one("file", {"action": "delete", "path": "new/folder"})["result"] == {"deleted": True}


json_ish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["noop", "os", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("tasks id type params input depends_on retry timeout annotations runtime created_at ID x".split()),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60)
    | json_ish.map(lambda value: __import__("json").dumps(value).encode())
    | st.lists(st.dictionaries(st.sampled_from(["id", "type", "params", "depends_on", "retry"]), json_ish), max_size=4).map(
        lambda tasks: __import__("json").dumps({"tasks": tasks}).encode()
    )
)
def test_no_body_whatever_is_a_server_error(kernel: Any, body: bytes) -> None:
    answer = kernel.call("POST", "/tasks", body)
    assert answer.status in (202, 400), answer
    assert set(answer.json) in ({"error"}, {"accepted", "task_ids"})
    assert kernel.call("GET", "/tasks").status == 200
