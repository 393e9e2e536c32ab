"""What a task of each type becomes: its last envelope, field by field, in the order of the wire."""

from __future__ import annotations

from typing import Any

import pytest

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


def cli(given: Any, output: str, problem: str = "", under: str = "input") -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the case of a command that was tried."""
    args = given.get("args")
    result = {"args": args and [word or "" for word in args], "command": given["command"], "output": output}
    if not problem:
        run = {"status": "success", "output": result, "attempt": 1, "details": None}
        return {"type": "cli-skills", under: given}, {"type": "cli-skills", under: given, **OK, "result": result, "runtime": run}
    message = f"cli skill command failed: {problem}"
    failed = {"status": "failed", "output": result, "attempt": 1, "details": None, "error": failure(message)}
    ending = {**BAD, "result": result, "runtime": failed, "error": message}
    return {"type": "cli-skills", under: given}, {"type": "cli-skills", under: given, **ending}


def cli_refused(given: dict[str, Any], message: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the case of a command that was not tried."""
    run = {"status": "failed", "attempt": 1, "error": failure(message)}
    return {"type": "cli-skills", **given}, {"type": "cli-skills", **given, **BAD, "runtime": run, "error": message}


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
    "os-unknown-tool": (
        {"type": "os", "tool_name": " Noop "},
        {
            "type": "os",
            "tool_name": " Noop ",
            **BAD,
            "runtime": {"status": "failed", "attempt": 1, "error": failure('unknown os tool "Noop"')},
            "error": 'unknown os tool "Noop"',
        },
    ),
    "type-with-space-around": (
        {"type": " noop ", "params": {"message": "p"}, "input": {"message": "i"}},
        {
            "type": "os",
            "params": {"message": "p"},
            "tool_name": " noop ",
            "input": {"message": "i"},
            "execution_category": "os",
            **OK,
            "result": {"message": "p", "ok": True},
            "runtime": {"status": "success", "output": {"message": "p", "ok": True}, "attempt": 1, "details": None},
        },
    ),
    "type-wins-over-tool-and-category": (
        {"type": "noop", "tool_name": "shell", "execution_category": "x"},
        good("noop", None, {"message": "", "ok": True}),
    ),
    "canonical-style-keeps-its-category": (
        {"type": "os", "tool_name": "noop", "params": {}, "execution_category": "mine"},
        {
            "type": "os",
            "params": {},
            "tool_name": "noop",
            "execution_category": "mine",
            **OK,
            "result": {"message": "", "ok": True},
            "runtime": {"status": "success", "output": {"message": "", "ok": True}, "attempt": 1, "details": None},
        },
    ),
    "what-the-service-says-is-not-taken-from-a-client": (
        {
            "type": "noop",
            "status": "failed",
            "run_status": "failed",
            "handle_id": "h",
            "progress": [1],
            "result": 1,
            "error": "e",
            "runtime": {"status": "failed", "error": {"code": "x"}, "started_at": "2026-01-01T00:00:00Z"},
            "created_at": "2026-01-01T00:00:00Z",
        },
        good("noop", None, {"message": "", "ok": True}),
    ),
    "cli-skills": cli({"command": "sh", "args": ["-c", "echo out; echo err >&2; echo in"]}, "out\nerr\nin\n"),
    "cli-skills-without-args": cli({"command": "true"}, ""),
    "cli-skills-null-args": cli({"command": "true", "args": None}, ""),
    "cli-skills-no-args": cli({"command": "true", "args": []}, ""),
    "cli-skills-params": cli({"command": "echo", "args": ["<é>", None]}, "<é> \n", under="params"),
    "cli-skills-bytes": cli({"command": "printf", "args": ["a\\377b"]}, "a\ufffdb"),
    "cli-skills-fails": cli({"command": "sh", "args": ["-c", "printf half; exit 3"]}, "half", "exit status 3"),
    "cli-skills-signal": cli({"command": "sh", "args": ["-c", "kill -TERM $$"]}, "", "signal: terminated"),
    "cli-skills-no-such-program": cli(
        {"command": "no-such-program"}, "", 'exec: "no-such-program": executable file not found in $PATH'
    ),
    "cli-skills-no-such-path": cli({"command": "/nowhere/x"}, "", "fork/exec /nowhere/x: no such file or directory"),
    "cli-skills-nothing": cli_refused({"input": {}}, "command is required"),
    "cli-skills-blank": cli_refused({"input": {"command": " \t"}}, "command is required"),
    "cli-skills-no-input": cli_refused({}, "parse cli-skills input: unexpected end of JSON input"),
    "cli-skills-wrong-type": cli_refused(
        {"input": {"command": "true", "args": "x"}},
        "parse cli-skills input: json: cannot unmarshal string into Go struct field CLISkillInput.args of type []string",
    ),
    "cli-skills-array": cli_refused(
        {"input": [1]}, "parse cli-skills input: json: cannot unmarshal array into Go value of type executor.CLISkillInput"
    ),
    "timeout-kills-a-command": (
        {"type": "shell", "params": {"script": "exec sleep 600"}, "timeout": 300},
        {
            **os_task("shell", {"script": "exec sleep 600"}),
            "timeout": 300,
            **BAD,
            "result": {"exit_code": -1, "runner": "sh", "stderr": "", "stdout": ""},
            "runtime": {
                "status": "failed",
                "output": {"exit_code": -1, "runner": "sh", "stderr": "", "stdout": ""},
                "attempt": 1,
                "details": None,
                "error": failure("command failed: signal: killed"),
            },
            "error": "command failed: signal: killed",
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


@pytest.mark.parametrize("case", CASES)
def test_a_task_ends_as_execgo_ends_it(subject: Any, case: str) -> None:
    submitted, expected = CASES[case]
    (seen,) = subject.run({"id": "§t", **submitted})
    subject.same(subject.without_times(seen), {"id": "§t", **expected})


ALLOWED = "echo cat ls date whoami hostname uname pwd curl wget ping dig grep awk sed head tail wc sort uniq find dir where type"


def test_which_commands_are_allowed(subject: Any) -> None:
    tasks = [
        {"id": f"§{name}", "type": "shell", "params": {"command": name, "args": ["--version"]}}
        for name in (*ALLOWED.split(), "sh", "env", "python3")
    ]
    refused = [task["id"] for task in subject.run(*tasks) if "whitelist" in task.get("error", "")]
    assert refused == subject.own(["§sh", "§env", "§python3"])


def test_raw_values_and_hostile_strings_come_back_as_go_sends_them(subject: Any) -> None:
    body = (
        '{"tasks":[{"id":"§raw","type":"noop","params": {"z": 1.50e3, "n": 123456789012345678901234567890, '.encode()
        + b'"a": [ "\\u003c\xff\\ud800" ], "z": 2 }, "depends_on": []}]}'
    )
    assert subject.call("POST", "/tasks", body).status == 202
    assert subject.ended("§raw")["status"] == "success"
    text = subject.call("GET", "/tasks/§raw").text
    raw = '{"z":1.50e3,"n":123456789012345678901234567890,"a":["\\u003c\ufffd\\ud800"],"z":2}'
    assert text.startswith(subject.own(f'{{"id":"§raw","type":"os","params":{raw},"tool_name":"noop","input":{raw},'))


def test_html_characters_leave_escaped(subject: Any) -> None:
    subject.run({"id": "§h", "type": "noop", "params": {"message": "<&>\u2028"}})
    text = subject.call("GET", "/tasks/§h").text
    assert text.count('"message":"\\u003c\\u0026\\u003e\\u2028"') == 4  # params, input, result, runtime.output


def test_run_times_bracket_the_attempt(subject: Any) -> None:
    (task,) = subject.run({"id": "§s", "type": "sleep", "params": {"duration_ms": 40}})
    run = task["runtime"]
    assert subject.in_order(task["created_at"], run["started_at"], run["finished_at"], task["updated_at"])
    assert run["started_at"] != run["finished_at"]
    assert 40 <= run["duration_ms"] < 10_000


def test_files_are_written_read_and_removed(subject: Any) -> None:
    steps: list[tuple[dict[str, str], Any]] = [
        ({"action": "write", "content": "é1"}, {"bytes_written": 3}),
        ({"action": "append", "content": "2"}, {"bytes_written": 1}),
        ({"action": "read"}, {"content": "é12", "size": 4}),
        ({"action": "stat"}, {"is_dir": False, "mode": "-rw-r--r--", "name": "f.txt", "size": 4}),
        ({"action": "delete"}, {"deleted": True}),
    ]
    for number, (step, expected) in enumerate(steps):
        (task,) = subject.run({"id": f"§{number}", "type": "file", "params": {"path": "§new/folder/f.txt", **step}})
        task["result"].pop("mod_time", None)
        assert task["result"] == expected
    for number, (path, error) in enumerate(
        [("§new", "delete file: remove §new: directory not empty"), ("§new/folder", ""), ("§new", "")]
    ):
        (task,) = subject.run({"id": f"§d{number}", "type": "file", "params": {"action": "delete", "path": path}})
        assert task.get("error", "") == subject.own(error)
