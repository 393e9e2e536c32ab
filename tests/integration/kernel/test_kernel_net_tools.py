"""The tools that talk to others: http and tcp, against servers of the test's own."""

from __future__ import annotations

import socket
from typing import Any

import pytest


def http(kernel: Any, url: str, **params: Any) -> Any:
    timeout = params.pop("timeout", 0)
    return kernel.run_one("http", {"url": url, **params}, timeout=timeout)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_any_status_is_an_answer(kernel: Any, runtime: Any, status: int) -> None:
    runtime.answers["GET /x"] = [(status, "caf\u00e9 \xff".encode())]
    task = http(kernel, runtime.url + "/x")
    assert (task["status"], task["result"]) == ("success", {"body": "caf\u00e9 \u00ff", "status_code": status})


def test_method_headers_and_body_arrive(kernel: Any, runtime: Any) -> None:
    runtime.answers["POST /p"] = [(200, b"ok")]
    headers = {"x-custom": "v\u00e9", "Host": "elsewhere", "content-type": "application/json"}
    http(kernel, runtime.url + "/p?q=1", method="POST", headers=headers, body='{"a":1}')
    seen, body = runtime.wait_for("POST /p")
    assert body == {"a": 1}
    assert seen["path"] == "/p?q=1"
    assert seen["x-custom"].encode("latin-1").decode() == "v\u00e9"
    assert seen["content-type"] == "application/json"
    assert seen["host"].startswith("127.0.0.1")


def test_a_body_is_cut_at_one_mebibyte(kernel: Any, runtime: Any) -> None:
    runtime.answers["GET /big"] = [(200, b"x" * (3 << 20))]
    runtime.answers["GET /after"] = [(200, b"fine")]
    assert len(http(kernel, runtime.url + "/big")["result"]["body"]) == 1 << 20
    assert http(kernel, runtime.url + "/after")["result"]["body"] == "fine"


def redirecting(location: str, status: int = 302) -> socket.socket:
    """Serve one redirect, forever, from a thread."""
    import threading

    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                target = location or f"http://127.0.0.1:{server.getsockname()[1]}/again"
                connection.sendall(
                    f"HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # a body may come after the head; unread, it would break the connection
                    pass

    threading.Thread(target=work, daemon=True).start()
    return server


def test_redirects_are_followed_without_secrets_for_another_host(kernel: Any, runtime: Any) -> None:
    runtime.answers["GET /there"] = [(200, b"arrived")]
    with redirecting(runtime.url + "/there") as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        task = http(kernel, url, method="POST", body="b", headers={"Authorization": "secret", "X-Kept": "1"})
    assert task["result"] == {"body": "arrived", "status_code": 200}
    seen, _ = runtime.wait_for("GET /there")
    assert "authorization" not in seen
    assert seen["x-kept"] == "1"


def test_redirects_end(kernel: Any) -> None:
    with redirecting("") as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        task = http(kernel, url)
    assert task["error"].endswith("stopped after 10 redirects")


def test_a_timeout_while_the_server_is_silent(kernel: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        task = http(kernel, url, timeout=80)
    message = f'http request failed: Get "{url}": context deadline exceeded'
    assert task["runtime"]["error"] == {"code": "timeout", "message": message, "retryable": True, "source": "scheduler"}
    assert task["runtime"]["duration_ms"] < 20_000


def test_a_server_that_hangs_up(kernel: Any) -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)

        hanging_up = threading.Thread(target=work)
        hanging_up.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        task = http(kernel, url)
        hanging_up.join()
    assert task["error"] == f'http request failed: Get "{url}": EOF'


def test_tcp_connects(kernel: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert kernel.run_one("tcp", {"address": address})["result"] == {"address": address, "ok": True}
