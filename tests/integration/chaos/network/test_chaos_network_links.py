"""The proxy at rest: bytes pass unchanged, ends and back pressure are passed on, and nothing of it is left afterwards."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
import requests

from pytest_execgo.chaos.network.dialogue import Dialogue
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.chaos.network.link import TcpLink
from pytest_execgo.chaos.network.links import Links
from pytest_execgo.core.errors import StackError, UsageError

MEGABYTE = 1 << 20


def connected(link: TcpLink) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=60)


def lead(links: Links, listener: socket.socket) -> TcpLink:
    links.set_upstream("leg", f"http://127.0.0.1:{listener.getsockname()[1]}/")
    return links["leg"]


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := sock.recv(MEGABYTE):
        data += piece
    return bytes(data)


def blocks() -> Iterator[bytes]:
    """64 blocks of a megabyte each, all different."""
    block = random.Random(7).randbytes(MEGABYTE)
    return (block[turn:] + block[:turn] for turn in range(64))


def send_64_megabytes(sock: socket.socket) -> None:
    for block in blocks():
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)


def received_digest(sock: socket.socket) -> str:
    digest, buffer = hashlib.sha256(), bytearray(MEGABYTE)
    while size := sock.recv_into(buffer):
        digest.update(memoryview(buffer)[:size])
    return digest.hexdigest()


def expected_digest() -> str:
    digest = hashlib.sha256()
    for block in blocks():
        digest.update(block)
    return digest.hexdigest()


def sent_until_blocked(sock: socket.socket) -> int:
    sent = 0
    try:
        while sent < 1024 * MEGABYTE:
            sent += sock.send(bytes(MEGABYTE))
    except TimeoutError:
        return sent
    pytest.fail("it never had to wait")


def is_over(sock: socket.socket) -> bool:
    """Whether the connection has ended, one way or the other; waits for that."""
    sock.settimeout(60)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_addresses_are_known_before_any_upstream_and_kept_when_started_again() -> None:
    with Links.start() as links:
        assert tuple(links) == LEGS
        assert len({link.url for link in links.values()}) == 3
        assert [link.name for link in links.values()] == list(LEGS)
        ports = links.ports
        with pytest.raises(requests.ConnectionError):  # nobody is there yet
            requests.get(links["client-kernel"].url, timeout=60)
    with Links.start(ports=ports) as links:
        assert links.ports == ports
        assert links["kernel-runtime"].url == f"http://127.0.0.1:{ports['kernel-runtime']}"


def test_ports_that_cannot_be_had() -> None:
    with Links.start(["a"]) as links, pytest.raises(StackError, match=rf"link b can't listen on 127\.0\.0\.1:{links['a'].port}"):
        Links.start(["a", "b"], {"b": links["a"].port})
    with pytest.raises(StackError, match="link a can't listen"):
        Links.start(["a"], {"a": 70_000})
    with pytest.raises(UsageError, match="unknown link 'client-kernal'"):
        Links.start(ports={"client-kernal": 1})


@pytest.mark.parametrize("url", ["127.0.0.1:80", "https://x:1", "http://x", "http://x:99999", "http://x:1/base", "http://x:1?q"])
def test_upstreams_that_make_no_sense(links: Links, url: str) -> None:
    with pytest.raises(UsageError, match="upstream of the link leg"):
        links.set_upstream("leg", url)
    with pytest.raises(UsageError, match="unknown link 'lag'"):
        links.set_upstream("lag", "http://127.0.0.1:1")


def test_a_keep_alive_client_keeps_its_connection(session: requests.Session, link: TcpLink, upstream: Any) -> None:
    answers = [session.get(link.url + path, timeout=60) for path in ("/", "/none", "/chunked", "/early", "/large/300000", "/")]
    assert [answer.status_code for answer in answers] == [200, 204, 200, 200, 200, 200]
    assert (answers[2].content, answers[4].content, answers[5].content) == (b"3-3", bytes(300_000), b"6")
    assert session.post(link.url, data=iter([b"ab", b"c"]), timeout=60).content == b"7"
    assert upstream.seen[-1][2] == b"abc"
    assert len({port for *_, port in upstream.seen}) == 1
    assert session.get(link.url + "/until_close", timeout=60).content == b"8"
    assert session.head(link.url, timeout=60).headers["Content-Length"] == "1"


def test_many_clients_at_once(link: TcpLink, upstream: Any) -> None:
    def ask(_: int) -> list[int]:
        with requests.Session() as session:
            return [int(session.get(link.url, timeout=60).text) for _ in range(20)]

    with ThreadPoolExecutor(16) as pool:
        numbers = [number for found in pool.map(ask, range(32)) for number in found]
    assert sorted(numbers) == list(range(1, 641))


def test_each_direction_ends_by_itself(links: Links, listener: socket.socket) -> None:
    with connected(lead(links, listener)) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"question")
            near.shutdown(socket.SHUT_WR)
            assert read_all(far) == b"question"
            far.sendall(b"answer, later")
            far.shutdown(socket.SHUT_WR)
            assert read_all(near) == b"answer, later"


@pytest.mark.parametrize("breaks", ["near", "far"])
def test_a_broken_connection_is_broken_on_the_other_side(links: Links, listener: socket.socket, breaks: str) -> None:
    near = connected(lead(links, listener))
    far, _ = listener.accept()
    far.settimeout(60)
    near.sendall(b"a")
    assert far.recv(1) == b"a"
    first, second = (near, far) if breaks == "near" else (far, near)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    with second, pytest.raises(ConnectionResetError):
        second.recv(1)


def test_an_upstream_that_is_not_there(links: Links, listener: socket.socket) -> None:
    link = lead(links, listener)
    listener.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(link.url, timeout=60)


@pytest.mark.parametrize(
    "orders",
    [
        [],
        [("latency", {"ms": 2, "jitter_ms": 2, "seed": 5})],
        [("slice", {"bytes": 30_000})],
        [("slice", {"bytes": 90_001}), ("latency", {"ms": 1}), ("latency", {"ms": 1, "jitter_ms": 1})],
    ],
)
def test_64_megabytes_arrive_whole_in_both_directions(
    links: Links, listener: socket.socket, orders: list[tuple[str, Mapping[str, Any]]]
) -> None:
    link = lead(links, listener)
    disturbances = [link.disturb(kind, parameters) for kind, parameters in orders]
    with connected(link) as near, ThreadPoolExecutor(4) as pool:
        far, _ = listener.accept()
        with far:
            sent = [pool.submit(send_64_megabytes, sock) for sock in (near, far)]
            received = [pool.submit(received_digest, sock) for sock in (near, far)]
            assert [task.result(120) for task in sent] == [None, None]
            assert [task.result(120) for task in received] == [expected_digest()] * 2
    assert [disturbance.hits() for disturbance in disturbances] == [1] * len(disturbances)


def test_order_is_kept_while_disturbances_come_and_go(links: Links, listener: socket.socket) -> None:
    link = lead(links, listener)
    with connected(link) as near, ThreadPoolExecutor(2) as pool:
        far, _ = listener.accept()
        with far:
            sent, received = pool.submit(send_64_megabytes, near), pool.submit(received_digest, far)
            while not received.done():
                for kind, parameters in (("latency", {"ms": 2}), ("slice", {"bytes": 10_000})):
                    disturbance = link.disturb(kind, parameters)
                    wait([received], timeout=0.01)
                    disturbance.lift()
            assert sent.result(120) is None
            assert received.result(120) == expected_digest()


@pytest.mark.parametrize("kind", [None, "latency"])
def test_a_sender_waits_for_a_slow_reader(links: Links, listener: socket.socket, kind: str | None) -> None:
    link = lead(links, listener)
    if kind is not None:
        link.disturb(kind, {"ms": 3_600_000})
    with connected(link) as near:
        far, _ = listener.accept()
        with far:
            near.settimeout(1)
            # what the system's socket buffers take (some MiB each), and little of our own
            assert sent_until_blocked(near) < 64 * MEGABYTE


def test_small_writes_are_not_collected(links: Links, listener: socket.socket) -> None:
    with connected(lead(links, listener)) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"a")
            assert far.recv(1) == b"a"
            (connection,) = links["leg"]._leg._connections.values()
            for endpoint in (connection.near, connection._far):
                assert endpoint._transport is not None
                sock = endpoint._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_closing_ends_what_hangs(links: Links, listener: socket.socket) -> None:
    link = lead(links, listener)
    disturbance = link.disturb("half_open", {"direction": "request"})
    held = link.disturb("latency", {"ms": 3_600_000})
    with connected(link) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"lost")
            links.close()
            links.close()
            for sock in (near, far):
                assert is_over(sock)
    disturbance.lift()
    held.lift()
    with pytest.raises(StackError, match="links are closed"):
        link.disturb("refuse", {})
    with pytest.raises(StackError, match="links are closed"):
        links.set_upstream("leg", None)
    assert not [thread for thread in threading.enumerate() if thread.name == "pytest-execgo-links"]


def test_a_failure_of_the_proxy_itself_is_told(monkeypatch: pytest.MonkeyPatch, upstream: Any) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    links = Links.start(["leg"])
    links.set_upstream("leg", upstream.url)
    monkeypatch.setattr(Dialogue, "requested", fail)
    with pytest.raises(requests.ConnectionError):
        requests.get(links["leg"].url, timeout=60)
    with pytest.raises(StackError, match="a defect"):
        links.close()
