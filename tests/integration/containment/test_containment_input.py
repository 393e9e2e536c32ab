"""Whatever a client sends, it gets an answer below 500, and the service goes on."""

from __future__ import annotations

import itertools
import json
import socket
from typing import Any

import pytest

_IDS = itertools.count()


def task(**fields: Any) -> dict[str, Any]:
    return {"id": f"limit-{next(_IDS)}", "type": "noop", **fields}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def numbered(digits: int) -> bytes:
    return b'{"tasks":[{"id":"n%d","type":"noop","params":{"n":%s}}]}' % (next(_IDS), b"7" * digits)


LIMITS: dict[str, list[Any]] = {
    "id_bytes": [task(id="x" * 1025), task(id="é" * 513)],
    "dependencies_per_task": [task(id="p"), task(depends_on=["p"] * 10_001)],
    "nesting_depth": [task(params={"deep": nested(512)})],
    "retry": [task(retry=1_000_001)],
    "timeout_ms": [task(timeout=30 * 24 * 3_600_000 + 1)],
    "text_bytes": [task(annotations={"k": "v" * 70_000})],
    "input_bytes": [task(params={"message": "x" * (16 * 1024 * 1024)})],
}


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_named_when_it_is_exceeded_and_nothing_is_stored(kernel: Any, limit: str) -> None:
    tasks = LIMITS[limit]
    told = kernel.client.get("/health").json()
    assert "limits" in told["capabilities"]
    for refused in [tasks] if limit == "dependencies_per_task" else [[one] for one in tasks]:
        answer = kernel.submit(*refused)
        assert answer.status_code == 400, answer.text[:300]
        assert answer.json()["error"].startswith(f"limit exceeded: {limit} is {told['limits'][limit]}"), answer.text[:300]
    assert kernel.client.get("/tasks/p").status_code == 404


def test_digits_tasks_and_bodies_are_limited_too(kernel: Any) -> None:
    def post(body: bytes) -> tuple[int, str]:
        answer = kernel.client.post("/tasks", content=body)
        return answer.status_code, answer.json().get("error", "")

    for digits in (1_001, 5_000):
        status, error = post(numbered(digits))
        assert (status, error.startswith("limit exceeded: number_digits is 1000, task")) == (400, True), error
    assert post(numbered(1_000))[0] == 202
    many = b",".join(b'{"id":"m%d","type":"noop"}' % number for number in range(50_001))
    assert post(b'{"tasks":[' + many + b"]}") == (400, "limit exceeded: tasks_per_graph is 50000, this graph has 50001")
    assert post(b'{"x":[' + b"[]," * 400_000) == (400, "limit exceeded: values_per_body is 500000, this body has 800002")
    text = b'{"tasks":[{"id":"text","type":"noop","params":{"message":"' + b"[,{" * 300_000 + b'"}}]}'
    assert post(text)[0] == 202
    status, error = post(b" " * (32 * 1024 * 1024 + 1))
    assert (status, error) == (413, "limit exceeded: body_bytes is 33554432")


def test_what_is_at_a_limit_passes_and_digits_and_brackets_in_strings_count_for_nothing(kernel: Any) -> None:
    long = {"message": "9" * 5_000 + "[" * 2_000 + '"' + "{" * 2_000}
    at = [task(id="y" * 1024), task(params={"deep": nested(511)}), task(params=long), task(timeout=30 * 24 * 3_600_000)]
    answer = kernel.submit(*at, task(retry=1_000_000))
    assert answer.status_code == 202, answer.text[:300]


def test_compat_takes_what_execgo_takes(start_service: Any) -> None:
    letter = start_service("kernel", "--compat")
    assert letter.submit(task(id="x" * 5_000, retry=2**31, timeout=2**40, params={"deep": nested(900)})).status_code == 202
    assert "limits" not in letter.client.get("/health").json()


BAD_BODIES = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "number": b"5",
    "null task": b'{"tasks":[null]}',
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep and whole": b'{"tasks":[{"id":"d","type":"noop","params":' + b"[" * 9_000 + b"]" * 9_000 + b"}]}",
    "deep and unknown": b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "nan": b'{"tasks":[{"id":"a","type":"noop","params":NaN}]}',
    "infinite": b'{"tasks":[{"id":"a","type":"noop","retry":1e999}]}',
    "boolean as int": b'{"tasks":[{"id":"a","type":"noop","retry":true}]}',
    "int of 5000 digits": b'{"tasks":[{"id":"a","type":"noop","timeout":' + b"9" * 5_000 + b"}]}",
    "not UTF-8": b'{"tasks":[{"id":"\xff\xfe","type":""}]}',
    "lone surrogate": b'{"tasks":[{"id":"\\ud800","type":"nope"}]}',
    "NUL": b'{"tasks":[{"id":"a\\u0000b","type":"nope"}]}',
    "raw NUL": b'{"tasks":[{"id":"a\x00b","type":"noop"}]}',
    "long id": b'{"tasks":[{"id":"' + b"x" * 100_000 + b'","type":"noop"}]}',
    "cut": b'{"tasks":[{"id":"a"',
    "self": b'{"tasks":[{"id":"a","type":"noop","depends_on":["a"]}]}',
    "object as id": b'{"tasks":[{"id":{},"type":"noop"}]}',
    "UTF-16": '{"tasks":[]}'.encode("utf-16"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("path", ["/tasks", "/tasks/wait", "/mcp/call", "/adapters/translate", "/adapters/actions"])
def test_a_bad_body_is_the_clients_mistake(kernel: Any, path: str, name: str) -> None:
    answer = kernel.client.post(path, content=BAD_BODIES[name])
    assert answer.status_code < 500, answer.text[:300]
    assert path != "/tasks" or answer.status_code == 400
    answer.json()


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_the_clients_mistake_at_the_runtime_too(runtime: Any, name: str) -> None:
    answer = runtime.client.post("/api/v1/tasks", content=BAD_BODIES[name])
    assert answer.status_code == 400, answer.text[:300]
    assert answer.json()["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("params", [nested(400), {"a": "\ud800"}, "\x00", {"deep": {"": [None, True, 1e300]}}])
@pytest.mark.parametrize("kind", ["noop", "shell", "file", "http", "dns", "tcp", "sleep", "runtime", "mcp", "cli-skills"])
def test_odd_parameters_end_in_a_failed_or_finished_task(kernel: Any, kind: str, params: Any) -> None:
    one = task(type=kind, params=params, timeout=5_000)
    assert kernel.client.post("/tasks", content=json.dumps({"tasks": [one]})).status_code == 202
    assert kernel.finished(one["id"])["status"] in ("success", "failed")


RAW = {
    "half a request line": b"GET /hea",
    "half the headers": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
    "bad method": b"G(T /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad version": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "huge header": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
    "control characters in a header": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Trace-ID: a\x00\x01b\r\n\r\n",
    "bad content length": b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two content lengths": b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "garbage in chunks": b"POST /tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "endless chunk size": b"POST /tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 100_000,
    "length and chunks": (b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "percent": b"GET /tasks/%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute URL": b"GET http://evil/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


def exchange(port: int, sent: bytes, *, answers: int = 1) -> bytes:
    """Send bytes and return what comes back, up to so many answers or the connection's end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        came = b""
        try:
            connection.sendall(sent)
            while came.count(b"\r\n\r\n") < answers and (part := connection.recv(65536)):
                came += part
        except ConnectionError:  # what was sent is refused before it was read to its end
            return came or b"reset"
        return came


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("service", ["kernel", "runtime"])
def test_raw_bytes_never_hurt(request: pytest.FixtureRequest, service: str, name: str) -> None:
    """A whole request, good or bad, is answered below 500; half a one has nobody left to answer to."""
    running = request.getfixturevalue(service)
    unfinished = name.startswith("half") or name == "endless chunk size"
    answer = exchange(running.client.base_url.port, RAW[name], answers=0 if unfinished else 1)
    assert b" 50" not in answer[:20], answer[:300]
    assert unfinished or answer == b"reset" or answer.startswith(b"HTTP/1.1 "), answer[:300]
    assert running.client.get("/health" if service == "kernel" else "/healthz").status_code == 200


def test_pipelined_requests_are_all_answered_in_order(kernel: Any) -> None:
    body = b'{"tasks":[{"id":"piped","type":"noop"}]}'
    post = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    last = b"GET /tasks/piped HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(kernel.client.base_url.port, post + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + last, answers=10**6)
    assert answer.count(b"HTTP/1.1 202") == 1
    assert answer.count(b"HTTP/1.1 200") == 21
    assert answer.index(b'"accepted"') < answer.index(b'"uptime"') < answer.index(b'"id":"piped"')


def test_slow_bodies_hold_up_nobody(kernel: Any) -> None:
    port = kernel.client.base_url.port
    slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
    assert kernel.client.get("/health").status_code == 200
    assert kernel.submit(task()).status_code == 202
    for connection in slow:
        connection.close()
    assert kernel.client.get("/health").status_code == 200
