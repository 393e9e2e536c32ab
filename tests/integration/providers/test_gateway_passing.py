"""What goes through the gateway, what doesn't, and what is written down of it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from pytest_execgo.plan.provider import Secret
from pytest_execgo.providers.gateway import Gateway
from pytest_execgo.providers.session import Session

if TYPE_CHECKING:
    from tests.integration.providers.conftest import Model, Sending

CHAT = {"model": "m", "messages": [{"role": "user", "content": "plan"}]}


def post(session: Session, body: Any = CHAT, path: str = "/chat/completions", **headers: str) -> requests.Response:
    given = {"authorization": "Bearer dummy"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(session.url + path, json=body, headers=given, timeout=30, allow_redirects=False)


def raw(session: Session, request: str) -> tuple[int, bytes]:
    parts = urlsplit(session.url)
    with socket.create_connection(("127.0.0.1", parts.port or 0), timeout=30) as line:
        line.sendall(request.replace("SESSION", parts.path.split("/")[1]).encode())
        response = http.client.HTTPResponse(line)
        response.begin()
        return response.status, response.read()


def test_an_answer_passes_unchanged_and_is_written_down(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        assert urlsplit(session.url).hostname == "127.0.0.1"
        assert session.url.endswith("/v1")
        answer = post(session)
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, model.good, "application/json")
    (asked,) = model.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/base/v1/chat/completions", CHAT)
    (exchange,) = session.exchanges
    assert (exchange.path, exchange.request, exchange.status, exchange.response) == ("/v1/chat/completions", CHAT, 200, model.good)
    assert exchange.error is None
    assert exchange.took_ms > 0
    usage = session.usage
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cost) == (1, 11, 7, None)
    assert 0 < usage.model_ms <= exchange.took_ms


def test_the_model_gets_the_real_key_and_nothing_else_of_the_planners_headers(gateway: Gateway, model: Model) -> None:
    access = model.access(**{"OpenAI-Organization": "org-1"})
    with gateway.open(access, deadline_ms=60_000) as session:
        post(session, api_key="other", cookie="c=1", x_stainless_os="Linux", accept="application/json")
    (asked,) = model.asked
    assert asked.headers.pop("authorization") == f"Bearer {model.key}"
    assert asked.headers.pop("openai-organization") == "org-1"
    assert asked.headers.pop("host") == f"127.0.0.1:{model.port}"
    assert set(asked.headers) == {"accept", "accept-encoding", "content-length", "content-type", "user-agent"}
    assert asked.headers["accept-encoding"] == "identity"


def test_without_a_key_none_is_sent(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(key=""), deadline_ms=60_000) as session:
        assert post(session).status_code == 200
    assert "authorization" not in model.asked[0].headers


def test_get_and_queries_pass(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        assert requests.get(f"{session.url}/models?limit=2&after=a%20b", timeout=30).json() == model.good
    assert (model.asked[0].method, model.asked[0].path) == ("GET", "/base/v1/models?limit=2&after=a%20b")
    assert session.exchanges[0].request is None


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_errors_that_are_no_passing_ones_pass_at_once(gateway: Gateway, model: Model, status: int) -> None:
    error = {"error": {"message": "no", "code": "c"}}
    model.answers = [lambda send: send.json(error, status, x_request_id="r1", set_cookie="s=1", server="x")]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        answer = post(session)
    assert (answer.status_code, answer.json(), answer.headers["x-request-id"]) == (status, error, "r1")
    assert "set-cookie" not in answer.headers
    assert [(one.status, one.response, one.error) for one in session.exchanges] == [(status, error, None)]
    assert session.usage.prompt_tokens is None


def test_a_body_that_is_no_json_passes_as_it_is(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.body(b"<html>\xff</html>", "text/html", 403)]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        answer = post(session)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (403, b"<html>\xff</html>", "text/html")
    assert session.exchanges[0].response == "<html>\N{REPLACEMENT CHARACTER}</html>"


def test_an_answer_without_a_body_passes(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.head(204, {})]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        answer = post(session)
    assert (answer.status_code, answer.content, session.exchanges[0].response) == (204, b"", None)


def test_an_encoded_answer_passes_with_its_encoding(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.body(gzip.compress(b'{"a": 1}'), "application/json", content_encoding="gzip")]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        assert post(session).json() == {"a": 1}


def test_a_stream_passes_event_by_event_and_is_put_together(gateway: Gateway, model: Model) -> None:
    taken = [threading.Event() for _ in range(3)]

    def stream(send: Sending) -> None:
        send.stream_head()
        pieces = [{"role": "assistant", "content": ""}, {"content": '{"stages"'}, {"content": ": []}"}]
        for piece, seen in zip(pieces, taken, strict=True):
            send.event({"id": "i", "model": "m", "choices": [{"index": 0, "delta": piece, "finish_reason": None}], "usage": None})
            assert seen.wait(20), "the event before must be with the planner by now"
        send.event({"id": "i", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        send.event({"id": "i", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3, "cost": 0.25}})
        send.event(b"[DONE]")
        send.raw(b"0\r\n\r\n")

    model.answers = [stream]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        with requests.post(f"{session.url}/chat/completions", json={**CHAT, "stream": True}, stream=True, timeout=30) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            lines = (line for line in answer.iter_lines(chunk_size=1) if line)
            for seen in taken:
                assert next(lines).startswith(b"data: ")
                seen.set()
            assert [*lines][-1] == b"data: [DONE]"
    (exchange,) = session.exchanges
    choice = {"index": 0, "message": {"role": "assistant", "content": '{"stages": []}'}, "finish_reason": "stop"}
    assert exchange.response["choices"] == [choice]
    assert exchange.response["streamed_events"] == 5
    usage = session.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cost) == (5, 3, 0.25)


def test_connections_are_kept_on_both_sides(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session, requests.Session() as client:
        for _ in range(3):
            assert client.post(f"{session.url}/chat/completions", json=CHAT, timeout=30).status_code == 200
    assert len({asked.peer for asked in model.asked}) == 1
    assert session.usage.requests == 3
    assert session.usage.prompt_tokens == 33


def test_requests_at_the_same_time_don_t_wait_for_each_other(gateway: Gateway, model: Model) -> None:
    met = threading.Barrier(4)

    def together(send: Sending) -> None:
        met.wait(20)
        send.json(model.good)

    model.answers = [together]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(post(session).status_code)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 4
    assert len(session.exchanges) == 4


def test_two_sessions_have_two_addresses_two_keys_and_two_records(gateway: Gateway, model: Model) -> None:
    with (
        gateway.open(model.access(key="sk-first-key"), deadline_ms=60_000) as one,
        gateway.open(model.access(key="sk-second-key"), deadline_ms=60_000) as other,
    ):
        post(one)
        post(other)
        post(other)
        assert urlsplit(one.url).port == urlsplit(other.url).port
    keys = [asked.headers["authorization"] for asked in model.asked]
    assert keys == ["Bearer sk-first-key", "Bearer sk-second-key", "Bearer sk-second-key"]
    assert (len(one.exchanges), len(other.exchanges)) == (1, 2)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/../admin", "/v1/%2e%2e/admin", "/v1/a%2F..%2F..%2Fb", "/v1//x", "/v1/a\\b", "/v2/models", "/v1", "/v1/", "/models"),
        "/v1/x?a=\x01",
    ],
)
def test_only_what_is_below_v1_passes(gateway: Gateway, model: Model, path: str) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        status, body = raw(session, f"GET /SESSION{path} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status in (400, 404)
        assert json.loads(body)["error"]["type"] == "gateway_error"
    assert model.asked == []
    assert session.exchanges == []


def test_an_unknown_address_and_that_of_a_closed_session_are_nothing(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        base, _, _ = session.url.rpartition("/v1")
        assert requests.get(f"{base}x/v1/models", timeout=30).status_code == 404
        assert requests.get(f"{base[:-1]}/v1/models", timeout=30).status_code == 404
    assert requests.get(f"{session.url}/models", timeout=30).json()["error"]["code"] == "not_found"
    assert model.asked == []


@pytest.mark.parametrize(
    "request_line", ["PUT /SESSION/v1/x HTTP/1.1", "HEAD /SESSION/v1/x HTTP/1.1", "GET /SESSION/v1/x HTTP/9.9"]
)
def test_other_methods_are_refused_without_repeating_them(gateway: Gateway, model: Model, request_line: str) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        status, body = raw(session, f"{request_line}\r\nHost: x\r\nX-Key: {model.key}\r\n\r\n")
        assert status in (501, 505)
        assert urlsplit(session.url).path.split("/")[1].encode() not in body
    assert model.asked == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("Transfer-Encoding: chunked", 411),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 411),
        ("Content-Length: -1", 400),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("Content-Length: 99999999999", 413),
    ],
)
def test_a_body_of_unclear_or_senseless_length_is_refused(gateway: Gateway, model: Model, headers: str, expected: int) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        status, _ = raw(session, f"POST /SESSION/v1/chat/completions HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n")
        assert status == expected
    assert model.asked == []


def test_a_request_that_is_too_large_is_refused(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        answer = requests.post(f"{session.url}/chat/completions", data=b"x" * (33 << 20), timeout=60)
    assert answer.json()["error"]["code"] == "body_too_large"
    assert model.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_and_not_passed_on(gateway: Gateway, model: Model, status: int) -> None:
    model.answers = [lambda send: send.json({}, status, location=f"http://127.0.0.1:{model.port}/elsewhere")]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        answer = post(session)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "redirect_refused")
    assert "location" not in answer.headers
    assert [asked.path for asked in model.asked] == ["/base/v1/chat/completions"]
    assert session.exchanges[0].status == status
    assert "redirect" in str(session.exchanges[0].error)


def test_an_old_client_gets_a_plain_body(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        status, body = raw(session, "GET /SESSION/v1/models HTTP/1.0\r\nHost: x\r\n\r\n")
        assert (status, json.loads(body)) == (200, model.good)


def test_further_secrets_are_hidden_on_request(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.json({"said": "token-1234567 and EMPTY"})]
    hidden = (Secret("token-1234567"), Secret("EMPTY"))
    with gateway.open(model.access(), deadline_ms=60_000, redact=hidden) as session:
        assert post(session, {"model": "token-1234567"}).json() == {"said": "*** and EMPTY"}
    assert session.exchanges[0].request == {"model": "***"}


def test_a_huge_answer_passes_whole_and_is_kept_in_part(gateway: Gateway, model: Model) -> None:
    body = b'"' + b"x" * (9 << 20) + b'"'
    model.answers = [lambda send: send.body(body, "application/json")]
    with gateway.open(model.access(), deadline_ms=60_000) as session:
        assert post(session).content == body
    said = session.exchanges[0].response
    assert len(said) < (1 << 20) + 100
    assert said.endswith(f"… {len(body) - (1 << 20)} bytes dropped …")


def test_an_endless_answer_is_broken_off(gateway: Gateway, model: Model) -> None:
    def endless(send: Sending) -> None:
        send.head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
        while True:
            send.chunk(b"x" * (1 << 20))

    model.answers = [endless]
    with gateway.open(model.access(), deadline_ms=120_000) as session:
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            post(session)
    assert "larger than" in str(session.exchanges[0].error)
