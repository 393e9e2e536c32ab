"""Disturbances of connections and bytes: each one hits, is counted, and is undone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from pytest_execgo.chaos.network.link import TcpDisturbance, TcpLink
from pytest_execgo.chaos.network.links import Links
from pytest_execgo.core.errors import UsageError

HOUR = 3_600_000


@contextmanager
def pair(links: Links, listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection through the leg: its near side and the upstream's."""
    links.set_upstream("leg", f"http://127.0.0.1:{listener.getsockname()[1]}")
    with socket.create_connection(("127.0.0.1", links["leg"].port), timeout=60) as near:
        far, _ = listener.accept()
        far.settimeout(60)
        with far:
            yield near, far


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def wait_for_hits(disturbance: TcpDisturbance, hits: int) -> None:
    end = time.monotonic() + 60
    while disturbance.hits() < hits:
        assert time.monotonic() < end, "it never hit"
        time.sleep(0.005)


def silent(sock: socket.socket) -> bool:
    """Whether nothing comes for a moment."""
    sock.settimeout(0.1)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(60)
    return False


def test_parameters_are_checked(links: Links) -> None:
    with pytest.raises(UsageError, match="'latency' can't be used: ms: required"):
        links["leg"].disturb("latency", {})


def test_reset_ends_what_is_there_and_what_comes(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    with socket.create_connection(("127.0.0.1", link.port), timeout=60) as near:
        near.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        assert upstream.arrived.acquire(timeout=60)
        assert upstream.arrived.acquire(timeout=60)
        disturbance = link.disturb("reset", {})
        assert disturbance.hits() == 2
        with pytest.raises(ConnectionResetError):
            near.recv(1)
    for _ in range(3):
        with pytest.raises(requests.ConnectionError):
            session.get(link.url, timeout=60)
    assert disturbance.hits() == 5
    disturbance.lift()
    disturbance.lift()
    upstream.gate.set()
    assert session.get(link.url, timeout=60).content == b"3"
    assert disturbance.hits() == 5


@pytest.mark.parametrize("limit", [0, 2])
def test_reset_of_the_next_connections_only(session: requests.Session, link: TcpLink, limit: int) -> None:
    assert session.get(link.url, timeout=60).ok
    disturbance = link.disturb("reset", {"limit": limit})
    assert disturbance.hits() == 1
    for _ in range(limit):
        with pytest.raises(requests.ConnectionError):
            session.get(link.url, timeout=60)
    assert session.get(link.url, timeout=60).content == b"2"
    assert disturbance.hits() == 1 + limit


def test_refuse_spares_connections_that_are_there(session: requests.Session, link: TcpLink) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    disturbance = link.disturb("refuse", {})
    with pytest.raises(requests.ConnectionError):
        requests.get(link.url, timeout=60)
    assert session.get(link.url, timeout=60).content == b"2"
    assert disturbance.hits() == 1
    disturbance.lift()
    assert requests.get(link.url, timeout=60).content == b"3"


def test_latency_holds_both_directions_back(session: requests.Session, link: TcpLink) -> None:
    disturbance = link.disturb("latency", {"ms": 40})
    start = time.monotonic()
    assert session.get(link.url, timeout=60).content == b"1"
    assert time.monotonic() - start >= 0.08
    link.disturb("latency", {"ms": 60})
    start = time.monotonic()
    assert session.get(link.url, timeout=60).content == b"2"
    assert time.monotonic() - start >= 0.2
    assert disturbance.hits() == 1


def test_latency_keeps_the_order_and_is_lifted_while_bytes_wait(links: Links, listener: socket.socket) -> None:
    with pair(links, listener) as (near, far):
        near.sendall(b"0")
        assert far.recv(1) == b"0"
        disturbance = links["leg"].disturb("latency", {"ms": HOUR, "jitter_ms": HOUR, "seed": 1})
        shorter = links["leg"].disturb("latency", {"ms": HOUR})
        for number in range(1, 10):
            near.sendall(b"%d" % number)
            time.sleep(0.002)  # so that they are read one by one
        near.shutdown(socket.SHUT_WR)
        wait_for_hits(disturbance, 1)
        assert silent(far)
        disturbance.lift()
        assert silent(far)
        shorter.lift()
        assert exactly(far, 10) == b"123456789"
        assert (disturbance.hits(), shorter.hits()) == (1, 1)


def test_slice_cuts_and_pauses(links: Links, listener: socket.socket) -> None:
    with pair(links, listener) as (near, far):
        disturbance = links["leg"].disturb("slice", {"bytes": 100, "pause_ms": 10})
        start = time.monotonic()
        near.sendall(bytes(range(250)) * 4)
        assert exactly(far, 1000) == bytes(range(250)) * 4
        assert time.monotonic() - start >= 0.09  # nine pauses: it came in ten pieces
        assert disturbance.hits() == 1


def test_slice_is_lifted_while_pieces_wait(links: Links, listener: socket.socket) -> None:
    with pair(links, listener) as (near, far):
        disturbance = links["leg"].disturb("slice", {"bytes": 3, "pause_ms": HOUR})
        far.sendall(b"abcdefgh")
        far.shutdown(socket.SHUT_WR)
        assert exactly(near, 3) == b"abc"
        assert silent(near)
        disturbance.lift()
        assert exactly(near, 10) == b"defgh"
        near.sendall(b"x" * 1000)
        assert exactly(far, 1000) == b"x" * 1000


def test_bytes_that_fit_do_not_suffer_from_slices(session: requests.Session, link: TcpLink) -> None:
    disturbance = link.disturb("slice", {"bytes": 10_000})  # less than what is read at once of a long answer
    assert session.get(link.url, timeout=60).content == b"1"
    assert disturbance.hits() == 0
    assert session.get(link.url + "/large/1000000", timeout=60).content == bytes(1_000_000)
    assert disturbance.hits() == 1


@pytest.mark.parametrize("direction", ["request", "response", "both"])
def test_half_open_swallows_and_resets_when_lifted(links: Links, listener: socket.socket, direction: str) -> None:
    with pair(links, listener) as (near, far):
        near.sendall(b"a")
        far.sendall(b"b")
        assert (far.recv(1), near.recv(1)) == (b"a", b"b")
        disturbance = links["leg"].disturb("half_open", {"direction": direction})
        near.sendall(b"request")
        far.sendall(b"response")
        wait_for_hits(disturbance, 1)
        assert silent(far) if direction != "response" else exactly(far, 7) == b"request"
        assert silent(near) if direction != "request" else exactly(near, 8) == b"response"
        disturbance.lift()
        for sock in (near, far):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        disturbance.lift()
        assert disturbance.hits() == 1


def test_half_open_spares_what_lost_nothing(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    assert session.get(link.url, timeout=60).content == b"1"
    disturbance = link.disturb("half_open", {})
    disturbance.lift()
    assert session.get(link.url, timeout=60).content == b"2"
    assert len({port for *_, port in upstream.seen}) == 1
    assert disturbance.hits() == 0


@pytest.mark.parametrize("gently", [True, False])
def test_the_other_side_of_a_half_open_connection_is_told_nothing(links: Links, listener: socket.socket, gently: bool) -> None:
    with pair(links, listener) as (near, far):
        near.sendall(b"a")
        assert far.recv(1) == b"a"
        disturbance = links["leg"].disturb("half_open", {"direction": "request"})
        if not gently:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.close()
        wait_for_hits(disturbance, 1)
        assert silent(far)
        disturbance.lift()
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_a_client_that_gave_up_gets_through_once_half_open_is_lifted(
    session: requests.Session, link: TcpLink, upstream: Any
) -> None:
    disturbance = link.disturb("half_open", {"direction": "response"})
    with pytest.raises(requests.ReadTimeout):
        session.get(link.url, timeout=0.5)
    assert upstream.arrived.acquire(timeout=60)
    disturbance.lift()
    assert session.get(link.url, timeout=60).content == b"2"


def test_reset_ends_what_other_disturbances_hold(links: Links, listener: socket.socket) -> None:
    with pair(links, listener) as (near, far):
        held = links["leg"].disturb("latency", {"ms": HOUR})
        near.sendall(b"a")
        wait_for_hits(held, 1)
        reset = links["leg"].disturb("reset", {})
        for sock in (near, far):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert reset.hits() == 1
        held.lift()
        reset.lift()
