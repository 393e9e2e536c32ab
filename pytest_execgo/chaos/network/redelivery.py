"""Delivers a request once more, on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import h11

from pytest_execgo.chaos.network.framing import Framing, response_framing

_READ = 256 * 1024


class AnswerBrokenOff(ConnectionError):
    """The upstream did not give a whole answer."""


async def redeliver(
    address: tuple[str, int], request: bytes, method: str, sent: Callable[[], None], pass_on: Callable[[bytes], Awaitable[None]]
) -> None:
    """Send a whole request, call `sent`, and pass the bytes of the final answer on until it is whole.

    `OSError` when the upstream can't be reached, `AnswerBrokenOff` (one of them) when the answer is not whole.
    """
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        await writer.drain()
        sent()
        answer = response_framing(method)
        withheld = b""
        while not answer.done:
            data = await reader.read(_READ)
            if not data and not answer.feed_end():
                raise AnswerBrokenOff("the upstream closed the connection")
            rest = data
            while rest and not answer.done:
                before, rest = rest, _fed(answer, rest)
                withheld += before[: len(before) - len(rest)]
                if answer.interim:
                    answer, withheld = response_framing(method), b""
            if answer.head is not None:
                await pass_on(withheld)
                withheld = b""
    finally:
        writer.transport.abort()


def _fed(answer: Framing, data: bytes) -> bytes:
    try:
        return answer.feed(data)
    except h11.ProtocolError as error:
        raise AnswerBrokenOff(f"the upstream's answer is no HTTP/1.1: {error}") from error
