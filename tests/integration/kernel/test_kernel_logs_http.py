"""The kernel's standard output as whoever started it reads it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path


def test_every_request_is_a_line_of_json(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "pytest_execgo.kernel", "-addr", "127.0.0.1:0", "--ready-fd", str(writing)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EXECGO_")}
    kernel = subprocess.Popen(command, cwd=tmp_path, env=environment, pass_fds=[writing], stdout=subprocess.PIPE)
    os.close(writing)
    with os.fdopen(reading) as ready:
        port: int = json.loads(ready.readline())["port"]
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/tasks/%22%0A?x=1", headers={"X-Trace-ID": 'my "trace'})
        assert connection.getresponse().read()
        connection.request("POST", "/tasks", b"", {"X-Trace-ID": "t" * 1000})
        made = connection.getresponse().headers["X-Trace-ID"]
        connection.close()
        for bad in (b"a\0b", b"a\rb: c"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
                raw.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Trace-ID: " + bad + b"\r\n\r\n")
                answer = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))  # type: ignore[misc]
            assert bad not in answer
            assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))
    finally:
        kernel.terminate()
        output = kernel.communicate(timeout=60)[0].decode()
    assert kernel.returncode == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert (lines[0]["msg"], lines[0]["port"], lines[-1]["msg"]) == ("listening", port, "stopped")
    requests = [line for line in lines if line["msg"] == "request"]
    seen = [(line["trace_id"], line["method"], line["path"], line["status"]) for line in requests[:2]]
    assert seen == [('my "trace', "GET", "/tasks/%22%0A", 404), (made, "POST", "/tasks", 400)]
    assert len(made) == 16
