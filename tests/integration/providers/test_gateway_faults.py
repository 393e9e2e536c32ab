"""A model service that fails: what is tried again, what the planner is told, what the deadline cuts."""

from __future__ import annotations

import json
import socket
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
import requests

from pytest_execgo.plan.model import ModelProfile
from pytest_execgo.plan.provider import ModelAccess
from pytest_execgo.providers.gateway import Gateway
from pytest_execgo.providers.session import Session

if TYPE_CHECKING:
    from tests.integration.providers.conftest import Model, Sending

CHAT = {"model": "m", "messages": []}
FOR_EVER = 3_600_000
BROKEN = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


def post(session: Session, **options: Any) -> requests.Response:
    return requests.post(f"{session.url}/chat/completions", json=CHAT, timeout=60, **options)


def failing(status: int, **headers: str) -> Any:
    return lambda send: send.json({"error": {"message": "no"}}, status, **headers)


def good(send: Sending) -> None:
    send.json({"usage": {"prompt_tokens": 1, "completion_tokens": 2}})


def test_an_error_twice_and_then_an_answer_is_an_answer(gateway: Gateway, model: Model) -> None:
    model.answers = [failing(500), failing(500), good]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        assert post(session).status_code == 200
    assert [one.status for one in session.exchanges] == [500, 500, 200]
    assert session.exchanges[0].response == {"error": {"message": "no"}}
    assert (session.usage.requests, session.usage.prompt_tokens) == (3, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_when_no_try_is_left_the_planner_gets_the_error_itself(gateway: Gateway, model: Model, status: int) -> None:
    model.answers = [failing(status, retry_after="0")]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        answer = post(session)
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (status, {"error": {"message": "no"}}, "0")
    assert [one.status for one in session.exchanges] == [status] * 3
    assert len(model.asked) == 3


def test_without_retries_there_is_one_try(gateway: Gateway, model: Model) -> None:
    model.answers = [failing(500)]
    with gateway.open(model.access(), deadline_ms=FOR_EVER, retries=0) as session:
        assert post(session).status_code == 500
    assert len(model.asked) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(gateway: Gateway, model: Model, form: str) -> None:
    began = time.monotonic()
    said = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    model.answers = [failing(429, retry_after=said), good]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        assert post(session).status_code == 200
    assert time.monotonic() - began > 0.9, "the gateway's own first wait is 10 ms"


def test_a_wait_beyond_the_deadline_is_not_begun(gateway: Gateway, model: Model) -> None:
    model.answers = [failing(429, retry_after="7200")]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        answer = post(session)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7200")
    assert len(model.asked) == 1


def test_the_end_of_a_session_ends_a_wait(gateway: Gateway, model: Model) -> None:
    noted = threading.Event()

    def limited(send: Sending) -> None:
        send.json({}, 429, retry_after="1800")
        noted.set()

    model.answers = [limited]
    session = gateway.open(model.access(), deadline_ms=FOR_EVER)
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(post(session).status_code)
        except requests.RequestException as error:
            ended.append(type(error))

    thread = threading.Thread(target=ask)
    thread.start()
    assert noted.wait(20)
    session.close()
    thread.join(20)
    assert len(ended) == 1, "neither the half hour nor the hour was waited for"


def test_a_connection_that_is_cut_before_an_answer_is_tried_again(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.cut(), lambda send: send.cut(), good]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        assert post(session).status_code == 200
    assert [one.status for one in session.exchanges] == [None, None, 200]
    assert all("no answer from 127.0.0.1" in str(one.error) for one in session.exchanges[:2])


def test_a_connection_that_is_cut_before_the_first_byte_of_a_body_is_tried_again(gateway: Gateway, model: Model) -> None:
    def head_only(send: Sending) -> None:
        send.head(200, {"content-type": "application/json", "content-length": "5"})
        send.raw(b"")
        send.cut()

    model.answers = [head_only, good]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        assert post(session).status_code == 200
    assert "broke off" in str(session.exchanges[0].error)


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_an_answer_that_is_cut_in_the_middle_is_cut_for_the_planner_too(gateway: Gateway, model: Model, form: str) -> None:
    def half(send: Sending) -> None:
        if form == "length":
            send.sized(b'{"choices": [', 100, "application/json")
        else:
            send.stream_head()
            send.event({"choices": [{"index": 0, "delta": {"content": "half"}}]})
        send.cut()

    model.answers = [half]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        with pytest.raises(BROKEN):
            post(session)
    (exchange,) = session.exchanges
    assert exchange.status == 200
    assert "broke off" in str(exchange.error)
    assert "half" in json.dumps(exchange.response) or exchange.response == '{"choices": ['


def test_nobody_there_is_told_with_the_address(gateway: Gateway, model: Model) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        access = ModelAccess(f"http://{where}/v1", ModelProfile(model="m"))
        with gateway.open(access, deadline_ms=FOR_EVER) as session:
            answer = post(session)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unreachable"
    assert f"{where}: Connection refused" in answer.json()["error"]["message"]
    assert [one.error for one in session.exchanges] == [answer.json()["error"]["message"]] * 3


def test_a_service_that_speaks_no_tls_gets_no_key(gateway: Gateway, model: Model) -> None:
    access = ModelAccess(model.url.replace("http:", "https:"), ModelProfile(model="m"), model.access().api_key)
    with gateway.open(access, deadline_ms=FOR_EVER, retries=0) as session:
        assert post(session).status_code == 502
    assert model.asked == []


def test_what_stalls_is_cut_at_the_deadline(gateway: Gateway, model: Model) -> None:
    model.answers = [lambda send: send.raw(b"") if model.hold.wait(60) else None]
    with gateway.open(model.access(), deadline_ms=5_000) as session:
        answer = post(session)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
        (exchange,) = session.exchanges
        assert exchange.status is None
        assert exchange.error
        assert session.ended


@pytest.mark.parametrize("form", ["chunks", "until the end of the connection"])
def test_a_stream_that_stalls_is_cut_at_the_deadline(gateway: Gateway, model: Model, form: str) -> None:
    def stalled(send: Sending) -> None:
        if form == "chunks":
            send.stream_head()
            send.event({"choices": [{"index": 0, "delta": {"content": "half"}}]})
        else:
            send.head(200, {"content-type": "text/event-stream", "connection": "close"})
            send.raw(b"data: {}\n\n")
        model.hold.wait(60)

    model.answers = [stalled]
    with gateway.open(model.access(), deadline_ms=5_000) as session:
        with pytest.raises(BROKEN):
            post(session)
        assert session.exchanges[0].error == "cut: the planning's time is over"


def test_a_stream_that_trickles_is_cut_at_the_deadline(gateway: Gateway, model: Model) -> None:
    def trickling(send: Sending) -> None:
        send.stream_head()
        while not model.hold.wait(0.02):
            send.event({"choices": []})

    model.answers = [trickling]
    with gateway.open(model.access(), deadline_ms=5_000) as session:
        with pytest.raises(BROKEN):
            post(session)
        assert session.exchanges[0].error == "cut: the planning's time is over"


def test_after_the_deadline_every_request_is_refused_at_once(gateway: Gateway, model: Model) -> None:
    with gateway.open(model.access(), deadline_ms=0) as session:
        assert session.over.wait(20)
        assert [post(session).status_code for _ in range(3)] == [504] * 3
    assert model.asked == []
    assert (session.exchanges, session.usage.requests) == ([], 0)


def test_another_sessions_deadline_is_none_of_ours(gateway: Gateway, model: Model) -> None:
    met = threading.Event()

    def waiting(send: Sending) -> None:
        met.wait(20)
        good(send)

    model.answers = [waiting]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as ours, gateway.open(model.access(), deadline_ms=50) as other:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda one=one: statuses.append(post(one).status_code)) for one in (ours, other)]
        for thread in threads:
            thread.start()
        threads[1].join(20)
        assert statuses == [504]
        met.set()
        threads[0].join(20)
    assert statuses == [504, 200]


def test_closing_a_session_cuts_what_is_under_way_and_writes_it_down(gateway: Gateway, model: Model) -> None:
    asked = threading.Event()

    def held(send: Sending) -> None:
        asked.set()
        model.hold.wait(60)

    model.answers = [held]
    session = gateway.open(model.access(), deadline_ms=FOR_EVER)
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(post(session).status_code)
        except requests.RequestException as error:
            ended.append(type(error))

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(20)
    session.close()
    session.close()
    assert [one.status for one in session.exchanges] == [None]
    thread.join(20)
    assert len(ended) == 1
    assert ended != [200]


def test_closing_the_gateway_ends_sessions_and_connections_that_are_kept(model: Model) -> None:
    gateway = Gateway()
    session = gateway.open(model.access(), deadline_ms=FOR_EVER)
    with requests.Session() as client:
        assert client.post(f"{session.url}/chat/completions", json=CHAT, timeout=30).status_code == 200
        gateway.close()
        gateway.close()
        with pytest.raises(requests.ConnectionError):
            client.post(f"{session.url}/chat/completions", json=CHAT, timeout=30)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("model-")] == []
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as again:
        assert post(again).status_code == 200
    gateway.close()


def test_a_gateway_that_nobody_used_has_no_thread() -> None:
    before = set(threading.enumerate())
    with Gateway():
        assert set(threading.enumerate()) <= before


def test_a_planner_that_goes_away_ends_its_exchange(gateway: Gateway, model: Model) -> None:
    broken = threading.Event()

    def endless(send: Sending) -> None:
        send.stream_head()
        try:
            while not model.hold.is_set():
                send.event({"choices": [], "x": "x" * 10_000})
        except OSError:
            broken.set()

    model.answers = [endless]
    with gateway.open(model.access(), deadline_ms=FOR_EVER) as session:
        answer = post(session, stream=True)
        next(answer.iter_content(100))
        answer.close()
        assert broken.wait(30), "the model's service is told"
    (exchange,) = session.exchanges
    assert "the planner did not take the answer" in str(exchange.error)
