"""Disturbances of HTTP requests: answers lost after the deed, requests delivered twice, something done in between."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from pytest_execgo.chaos.network.link import TcpLink
from pytest_execgo.chaos.network.links import Links


def asking(link: TcpLink, data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", link.port), timeout=60)
    sock.sendall(data)
    return sock


def read_until_reset(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(1 << 20):
            data += piece
    except ConnectionResetError:
        return data
    pytest.fail(f"the connection was closed, not reset, after {data[:200]!r}")


def request(path: str, method: str = "GET", extra: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()


def test_a_lost_answer_was_given(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    assert session.post(link.url + "/tasks", data=b"1", timeout=60).content == b"1"
    disturbance = link.disturb("lose_response", {"method": "POST", "path": "/tasks", "count": 2})  # the connection is idle
    assert session.get(link.url + "/tasks", timeout=60).content == b"2"
    assert session.post(link.url + "/other", timeout=60).content == b"3"
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            session.post(link.url + "/tasks?q=1", data=b"again", timeout=60)
    assert disturbance.hits() == 2
    assert session.post(link.url + "/tasks", data=b"4", timeout=60).content == b"6"
    assert [body for _, _, body, _ in upstream.seen] == [b"1", b"", b"", b"again", b"again", b"4"]
    disturbance.lift()


@pytest.mark.parametrize("path", ["/chunked", "/none", "/until_close", "/early", "/large/3000000", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whole_answers_of_every_kind_are_lost(link: TcpLink, upstream: Any, path: str, method: str) -> None:
    disturbance = link.disturb("lose_response", {})
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" if path == "/early" else b""
    with asking(link, request(path, method)) as near:
        assert read_until_reset(near) == interim
    assert disturbance.hits() == 1
    assert upstream.paths() == [path]


def test_an_answer_that_breaks_off_is_no_lost_one(link: TcpLink) -> None:
    disturbance = link.disturb("lose_response", {})
    with asking(link, request("/half")) as near, pytest.raises(ConnectionResetError):
        near.recv(1)
    assert disturbance.hits() == 0


def test_a_long_request_is_passed_on_before_its_answer_is_lost(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    link.disturb("lose_response", {})
    with pytest.raises(requests.ConnectionError):
        session.put(link.url + "/x", data=iter([bytes(100_000)] * 50), timeout=60)
    assert len(upstream.seen[0][2]) == 5_000_000


def test_answers_before_the_lost_one_arrive(link: TcpLink, upstream: Any) -> None:
    disturbance = link.disturb("lose_response", {"path": "/lost"})
    with socket.socket() as near:
        near.settimeout(60)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the system still has bytes to send at the reset
        near.connect(("127.0.0.1", link.port))
        near.sendall(request("/a") + request("/large/3000000") + request("/lost") + request("/b"))
        answers = read_until_reset(near)
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.endswith(bytes(3_000_000))
    assert upstream.paths()[:3] == ["/a", "/large/3000000", "/lost"]
    assert disturbance.hits() == 1


def test_an_answer_passes_when_it_was_lifted_before(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    disturbances = [link.disturb("lose_response", {}), link.disturb("duplicate", {}), link.disturb("on_response", {"call": print})]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(session.get, link.url + "/held", timeout=60)
        assert upstream.arrived.acquire(timeout=60)
        for disturbance in disturbances:
            disturbance.lift()
        upstream.gate.set()
        assert answer.result(60).content == b"1"
    assert session.get(link.url, timeout=60).content == b"2"
    assert [disturbance.hits() for disturbance in disturbances] == [0, 0, 0]


def test_what_is_no_http_passes(links: Links, listener: socket.socket) -> None:
    links.set_upstream("leg", f"http://127.0.0.1:{listener.getsockname()[1]}")
    disturbance = links["leg"].disturb("lose_response", {})
    with asking(links["leg"], b"\0\1\2\r\n\r\n") as near:
        far, _ = listener.accept()
        with far:
            assert far.recv(10) == b"\0\1\2\r\n\r\n"
            far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            assert near.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert disturbance.hits() == 0


@pytest.mark.parametrize(("answer", "number"), [("first", b"2"), ("second", b"3")])
def test_a_duplicate_is_delivered_twice(
    session: requests.Session, link: TcpLink, upstream: Any, answer: str, number: bytes
) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    disturbance = link.disturb("duplicate", {"method": "POST", "path": "/tasks", "answer": answer})
    assert session.post(link.url + "/tasks", data=b"body" * 100_000, timeout=60).content == number
    assert disturbance.hits() == 1
    first, once, again = upstream.seen
    assert once[:3] == again[:3] == ("POST", "/tasks", b"body" * 100_000)
    assert first[3] == once[3] != again[3]
    assert session.post(link.url + "/tasks", data=b"x", timeout=60).content == b"4"
    assert upstream.seen[-1][3] == once[3]


@pytest.mark.parametrize("path", ["/chunked", "/none", "/until_close", "/early", "/large/3000000"])
@pytest.mark.parametrize("answer", ["first", "second"])
def test_answers_of_every_kind_to_duplicates(link: TcpLink, upstream: Any, path: str, answer: str) -> None:
    expected = requests.get(upstream.url + path, timeout=60)
    disturbance = link.disturb("duplicate", {"answer": answer})
    found = requests.get(link.url + path, timeout=60)
    assert (found.status_code, len(found.content)) == (expected.status_code, len(expected.content))
    if b"1" in expected.content:
        assert found.content == expected.content.replace(b"1", b"2" if answer == "first" else b"3")
    assert upstream.paths() == [path] * 3
    assert disturbance.hits() == 1


def test_a_duplicate_with_a_chunked_body_among_pipelined_requests(link: TcpLink, upstream: Any) -> None:
    disturbance = link.disturb("duplicate", {"path": "/twice", "answer": "second"})
    chunked = request("/twice", "POST", "Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n"
    with asking(link, request("/a") + chunked + request("/until_close")) as near:
        answers = b""
        while piece := near.recv(1000):
            answers += piece
    assert answers.count(b"HTTP/1.1 200") == 3
    assert [body for _, path, body, _ in upstream.seen if path == "/twice"] == [b"abc", b"abc"]
    assert len(upstream.seen) == 4
    assert disturbance.hits() == 1


@pytest.mark.parametrize("answer", ["first", "second"])
def test_a_second_delivery_that_fails(session: requests.Session, links: Links, link: TcpLink, upstream: Any, answer: str) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    links.set_upstream("leg", "http://127.0.0.1:1")  # for new connections
    disturbance = link.disturb("duplicate", {"answer": answer})
    if answer == "first":
        assert session.get(link.url, timeout=60).content == b"2"
    else:
        with pytest.raises(requests.ConnectionError):
            session.get(link.url, timeout=60)
    assert disturbance.hits() == 0
    assert len(upstream.seen) == 2


def test_a_duplicate_whose_answer_is_lost(link: TcpLink, upstream: Any) -> None:
    disturbances = [link.disturb("duplicate", {}), link.disturb("lose_response", {}), link.disturb("latency", {"ms": 1})]
    disturbances.append(link.disturb("slice", {"bytes": 10}))
    with asking(link, request("/once")) as near, pytest.raises(ConnectionResetError):
        near.recv(1)
    assert upstream.paths() == ["/once", "/once"]
    assert [disturbance.hits() for disturbance in disturbances] == [1, 1, 1, 1]


def test_something_is_done_when_the_answer_begins(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    calls: list[tuple[str, int]] = []

    def call() -> None:
        calls.append((threading.current_thread().name, len(upstream.seen)))
        disturbance.lift()  # what is called may use the links

    disturbance = link.disturb("on_response", {"method": "POST", "path": "/tasks", "call": call})
    assert session.get(link.url + "/tasks", timeout=60).content == b"2"
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        session.post(link.url + "/tasks", timeout=60)
    ((thread, requests_seen),) = calls
    assert thread not in ("pytest-execgo-links", threading.main_thread().name)
    assert requests_seen == 3
    assert disturbance.hits() == 1
    assert session.post(link.url + "/tasks", timeout=60).content == b"4"


def test_an_interim_answer_is_not_the_answer(links: Links, listener: socket.socket) -> None:
    links.set_upstream("leg", f"http://127.0.0.1:{listener.getsockname()[1]}")
    called = threading.Event()
    links["leg"].disturb("on_response", {"call": called.set})
    with asking(links["leg"], request("/", "POST", "Expect: 100-continue\r\nContent-Length: 2\r\n")) as near:
        far, _ = listener.accept()
        with far:
            far.recv(1000)
            far.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2")
            assert near.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            near.sendall(b"ab")
            assert far.recv(10) == b"ab"
            assert not called.is_set()
            far.sendall(b"00 OK\r\n\r\n")
            assert called.wait(60)
            for sock in (near, far):
                sock.settimeout(60)
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)


def test_what_was_called_failed(session: requests.Session, link: TcpLink) -> None:
    def call() -> None:
        raise LookupError("no such process")

    disturbance = link.disturb("on_response", {"call": call})
    with pytest.raises(requests.ConnectionError):
        session.get(link.url, timeout=60)
    with pytest.raises(LookupError, match="no such process"):
        disturbance.lift()
    disturbance.lift()
    assert session.get(link.url, timeout=60).ok
