"""Which bytes belong to which HTTP message, whatever pieces they come in."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import pytest

from pytest_execgo.chaos.network.dialogue import Dialogue
from pytest_execgo.chaos.network.framing import request_framing, response_framing
from pytest_execgo.chaos.network.parameters import checked
from pytest_execgo.chaos.network.rules import Rules, activate

HEAD = b"Host: x\r\n"
POST = b"POST /tasks?a=/b HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
GET = b"GET http://x/g HTTP/1.1\r\n" + HEAD + b"\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nGET "
ANSWER_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def watching(*orders: str) -> tuple[Dialogue, Rules]:
    rules = Rules()
    for kind in orders:
        rules.add(activate(checked(kind, {"count": 1000})))
    return Dialogue(rules), rules


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("message", [POST, CHUNKED, GET])
def test_a_request_ends_where_it_ends(message: bytes, size: int) -> None:
    framing = request_framing()
    for piece in pieces(message, size):
        assert not framing.done
        assert framing.feed(piece) == b""
    assert framing.done
    framing = request_framing()
    assert framing.feed(message + b"GET /next") == b"GET /next"
    assert framing.done


@pytest.mark.parametrize(
    ("method", "answer", "rest"),
    [
        ("GET", ANSWER, b""),
        ("GET", ANSWER + ANSWER, ANSWER),
        ("GET", ANSWER_CHUNKED + ANSWER, ANSWER),
        ("HEAD", ANSWER[:-4] + ANSWER, ANSWER),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n" + ANSWER, ANSWER),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n" + ANSWER, ANSWER),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, ANSWER),
    ],
)
def test_an_answer_ends_where_it_ends(method: str, answer: bytes, rest: bytes) -> None:
    framing = response_framing(method)
    assert framing.feed(answer) == rest
    assert framing.done
    assert framing.interim == answer.startswith(b"HTTP/1.1 100")


def test_a_body_of_known_length_in_pieces() -> None:
    framing = response_framing("GET")
    assert framing.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab") == b""
    assert framing.feed(b"cdefg") == b""
    assert not framing.done
    assert framing.feed(b"hijNEXT") == b"NEXT"
    assert framing.done


def test_an_answer_until_the_end() -> None:
    framing = response_framing("GET")
    framing.feed(b"HTTP/1.0 200 OK\r\n\r\nsome")
    framing.feed(b"thing")
    assert not framing.done
    assert framing.feed_end()
    for broken in (b"", b"HTTP/1.1 200", ANSWER[:-1], ANSWER_CHUNKED[:-2]):
        framing = response_framing("GET")
        if broken:
            framing.feed(broken)
        assert not framing.feed_end()


@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_pipelined_requests_are_told_apart(size: int) -> None:
    dialogue, rules = watching("duplicate")
    for piece in pieces(POST + CHUNKED + GET, size):
        dialogue.requested(piece)
    copies, methods = [], []
    while (exchange := dialogue.first) is not None:
        assert exchange.whole
        assert exchange.copy is not None
        copies.append(bytes(exchange.copy))
        methods.append(exchange.method)
        dialogue.answered(ANSWER[:-4] + b"abcd")
    assert methods == ["POST", "PUT", "GET"]
    assert copies == [POST, CHUNKED, GET]
    assert rules.everything()[0].left == 997


def test_paths_are_matched_without_query_and_host() -> None:
    rules = Rules()
    for path in ("/tasks", "/g"):
        rules.add(activate(checked("lose_response", {"path": path, "exact": True})))
    dialogue = Dialogue(rules)
    dialogue.requested(POST + GET)
    assert [active.left for active in rules.everything()] == [0, 0]


def test_each_kind_strikes_once_and_two_of_a_kind_share_requests() -> None:
    rules = Rules()
    actives = [activate(checked(kind, {})) for kind in ("duplicate", "lose_response", "lose_response")]
    for active in actives:
        rules.add(active)
    fates = [rules.fate("GET", "/") for _ in range(3)]
    assert [(fate.duplicate, fate.lose_response) for fate in fates] == [(actives[0], actives[1]), (None, actives[2]), (None, None)]
    assert [bool(fate) for fate in fates] == [True, True, False]


@pytest.mark.parametrize(
    "noise", [b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-x\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 300_000]
)
def test_what_is_no_http_suffers_nothing(noise: bytes) -> None:
    dialogue, _ = watching("lose_response")
    dialogue.requested(noise)
    dialogue.requested(GET)
    assert dialogue.plain
    assert dialogue.first is None


def test_an_answer_that_nobody_asked_for_ends_it() -> None:
    dialogue, _ = watching("lose_response")
    dialogue.answered(b"220 hello\r\n")
    dialogue.requested(GET)
    assert dialogue.first is None


def test_another_protocol_ends_it() -> None:
    dialogue, _ = watching("lose_response")
    dialogue.requested(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    exchange = dialogue.first
    assert exchange is not None
    with pytest.raises(h11.ProtocolError):
        dialogue.take(exchange, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_interim_answers_come_before_the_answer() -> None:
    dialogue, _ = watching("lose_response")
    dialogue.requested(POST)
    exchange = dialogue.first
    assert exchange is not None
    rest = dialogue.take(exchange, b"HTTP/1.1 103 Early\r\n\r\n" + ANSWER)
    assert rest == ANSWER
    assert dialogue.first is exchange
    assert dialogue.take(exchange, rest) == b""
    assert dialogue.first is None


def test_a_request_too_large_to_keep_is_not_delivered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.chaos.network.dialogue.MOST_COPIED", 50)
    dialogue, _ = watching("duplicate")
    dialogue.requested(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    exchange = dialogue.first
    assert exchange is not None
    dialogue.requested(bytes(100))
    assert exchange.copy is None
    assert exchange.whole
    assert not exchange.fate
