"""The kernel's client: what goes over the wire, and how every kind of answer and silence comes back."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from pytest_execgo.client.kernel import KernelClient, KernelRefused, KernelUnreachable

if TYPE_CHECKING:
    from tests.unit.client.conftest import Service


@pytest.fixture
def client(service: Service) -> Iterator[KernelClient]:
    client = KernelClient(service.url + "/", "s3cret")
    yield client
    client.close()


def answer(service: Service, status: int, body: object, **headers: str) -> None:
    service.answer.status = status
    service.answer.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    service.answer.headers = headers


def test_a_graph_is_posted_as_it_is_and_the_accepted_ids_come_back(service: Service, client: KernelClient) -> None:
    answer(service, 202, {"accepted": 2, "task_ids": ["a", "b"]})
    tasks: list[dict[str, Any]] = [
        {"id": "a", "type": "noop", "params": {"message": "grüße \ud800"}},
        {"id": "b", "type": "noop", "depends_on": ["a"]},
    ]
    assert client.submit(tasks) == ["a", "b"]
    (request,) = service.requests
    assert (request.method, request.target) == ("POST", "/tasks")
    assert json.loads(request.body) == {"tasks": tasks}
    assert request.headers["Content-Type"] == "application/json"


def test_each_call_has_its_route(service: Service, client: KernelClient) -> None:
    answer(service, 200, {"status": "ok"})
    assert [client.health(), client.metrics(), client.task("t")] == [{"status": "ok"}] * 3
    client.delete("t")
    assert [(r.method, r.target) for r in service.requests] == [
        *(("GET", "/health"), ("GET", "/metrics"), ("GET", "/tasks/t"), ("DELETE", "/tasks/t")),
    ]


def test_no_content_is_an_answer(service: Service, client: KernelClient) -> None:
    answer(service, 204, b"")
    client.delete("t")
    assert client.health() == {}


def test_the_connection_is_kept_and_each_request_carries_the_token(service: Service, client: KernelClient) -> None:
    peers = set()

    def note_peer(handler: BaseHTTPRequestHandler) -> None:
        peers.add(handler.client_address)
        reply(handler, b"{}")

    service.behave = note_peer
    for _ in range(3):
        client.health()
    assert len(peers) == 1
    assert [request.headers["Authorization"] for request in service.requests] == ["Bearer s3cret"] * 3


def test_without_a_token_no_authorization_is_sent(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("NETRC", f"{tmp_path}/netrc")
    with open(f"{tmp_path}/netrc", "w") as netrc:  # noqa: PTH123
        netrc.write("machine 127.0.0.1 login user password of-the-user")
    client = KernelClient(service.url)
    client.health()
    client.close()
    assert "Authorization" not in service.requests[0].headers


def test_the_users_proxies_are_ignored(service: Service, client: KernelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert client.health() == {}
    assert service.requests[0].target == "/health"


@pytest.mark.parametrize(
    "task_id",
    [
        *("run:stage:task:1", "a/b", "/", "..", ".", "...", "../health", "a..b", "%2E%2e", "%", "a b", "a?b=c", "a#b", "a;b"),
        *("grüße", "文\U0001f600", "\n\r\0", "x" * 300, "~-_!*'()&=+$,@"),
    ],
)
def test_every_id_is_one_segment_on_the_wire(service: Service, client: KernelClient, task_id: str) -> None:
    client.task(task_id)
    prefix, _, segment = service.requests[0].target.rpartition("/")
    assert prefix == "/tasks"
    assert unquote(segment) == task_id
    assert segment not in ("", ".", "..")
    assert not set(segment) & set("/?#")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": "task graph is empty"}, "task graph is empty"),
        (404, {"error": "task not found: x"}, "task not found: x"),
        (
            401,
            {"error": {"code": "unauthorized", "message": "a bearer token is required", "details": {}}},
            "a bearer token is required",
        ),
        (500, {"reason": "unknown"}, "{'reason': 'unknown'}"),
        (422, ["a", "b"], "['a', 'b']"),
        (409, "taken", "taken"),
    ],
)
def test_a_refusal_carries_the_kernels_words_and_its_status(
    service: Service, client: KernelClient, status: int, body: object, said: str
) -> None:
    answer(service, status, body)
    with pytest.raises(KernelRefused) as refused:
        client.submit([])
    assert (refused.value.code, refused.value.message, refused.value.status_code) == ("refused", said, status)


@pytest.mark.parametrize("status", [200, 202, 404, 405, 502])
@pytest.mark.parametrize(
    "body", [b"404 page not found\n", b"", b"<html>" + b"x" * 5000, b'{"a": NaN}', b"9" * 5000, b"[" * 100_000, b'"\xff"']
)
def test_what_is_no_json_is_told_with_its_beginning(service: Service, client: KernelClient, status: int, body: bytes) -> None:
    answer(service, status, body)
    with pytest.raises(KernelRefused) as refused:
        client.task("t")
    assert (refused.value.code, refused.value.status_code) == ("bad_answer", status)
    assert f"GET /tasks/t: status {status}" in refused.value.message
    assert body[:20].decode("utf-8", "replace").strip() in refused.value.message
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("body", [[], "ok", 1, None])
def test_json_that_is_no_object_is_no_answer(service: Service, client: KernelClient, body: object) -> None:
    answer(service, 200, body)
    with pytest.raises(KernelRefused, match="expected a JSON object") as refused:
        client.health()
    assert refused.value.code == "bad_answer"


def test_what_an_answer_holds_can_be_written_down(service: Service, client: KernelClient) -> None:
    answer(service, 200, rb'{"error": "half a \ud800 pair"}')
    assert client.task("t")["error"].encode() == "half a \ufffd pair".encode()


def test_a_redirect_is_not_followed(service: Service, client: KernelClient) -> None:
    answer(service, 301, b"", Location="http://127.0.0.1:9/elsewhere")
    with pytest.raises(KernelRefused) as refused:
        client.submit([])
    assert refused.value.status_code == 301
    assert len(service.requests) == 1


def test_a_refused_connection_says_so_in_plain_words() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, never listening
        client = KernelClient(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(KernelUnreachable) as unreachable:
            client.task("a/b")
        client.close()
    assert unreachable.value.code == "kernel_unreachable"
    assert unreachable.value.message == f"GET {client.url}/tasks/a%2Fb: Connection refused"


def test_an_answer_that_does_not_come_is_unreachable(service: Service) -> None:
    enough = threading.Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        enough.wait(20)

    service.behave = hold
    client = KernelClient(service.url, timeout=0.05)
    with pytest.raises(KernelUnreachable, match="timed out"):
        client.health()
    enough.set()
    client.close()


def reply(handler: BaseHTTPRequestHandler, body: bytes, length: int | None = None, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("content-length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, b'{"status":', length=1000)
    handler.wfile.flush()
    hang_up(handler)


@pytest.mark.parametrize(("behave", "why"), [(hang_up, "without response"), (cut_short, "IncompleteRead|more expected")])
def test_a_connection_that_breaks_is_unreachable_never_a_short_answer(
    service: Service, client: KernelClient, behave: object, why: str
) -> None:
    service.behave = behave  # type: ignore[assignment]
    with pytest.raises(KernelUnreachable, match=why):
        client.task("t")
    assert len(service.requests) == 1, "not tried again behind the caller's back"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "http://", "nonsense", "http://[::1"])
def test_an_address_that_is_none_is_unreachable(url: str) -> None:
    client = KernelClient(url)
    with pytest.raises(KernelUnreachable):
        client.health()
    client.close()


def test_what_a_kernel_in_trouble_can_is_asked_again(service: Service, client: KernelClient) -> None:
    service.behave = lambda handler: reply(handler, b'{"error": "the kernel is not ready"}', status=503)
    assert client.capabilities() == frozenset()
    service.behave = lambda handler: reply(handler, b'{"capabilities": ["wait"]}')
    assert client.capabilities() == frozenset({"wait"})
    service.behave = hang_up
    assert client.capabilities() == frozenset({"wait"}), "an answer is kept"
