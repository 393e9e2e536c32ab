"""TXT lookups against a name server of our own, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest

from pytest_execgo.kernel.executors.tools.dns_query import LookupFailed, query_txt

Answer = Callable[[dns.message.Message], dns.message.Message]


class NameServer(asyncio.DatagramProtocol):
    """Answers every query with what `answer` makes of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.answer(dns.message.from_wire(data)).to_wire(), addr)


def look_up(answer: Answer, name: str = "example.test") -> list[str]:
    async def ask() -> list[str]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: NameServer(answer), local_addr=("127.0.0.1", 0))
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        resolver.lifetime = 5
        try:
            return await query_txt(name, resolver)
        finally:
            transport.close()

    return asyncio.run(ask())


def with_records(*records: str) -> Answer:
    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *records))
        return response

    return answer


def with_code(code: dns.rcode.Rcode) -> Answer:
    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response

    return answer


def test_strings_of_one_record_are_joined() -> None:
    assert look_up(with_records('"v=spf1 " "-all"')) == ["v=spf1 -all"]


def test_every_record_is_returned() -> None:
    assert sorted(look_up(with_records('"a"', '"b"'))) == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "said"),
    [(dns.rcode.NXDOMAIN, "no such host"), (dns.rcode.NOERROR, "no such host"), (dns.rcode.SERVFAIL, "server misbehaving")],
)
def test_errors_are_in_gos_words(code: dns.rcode.Rcode, said: str) -> None:
    with pytest.raises(LookupFailed, match=said):
        look_up(with_code(code))


def test_a_name_that_is_none() -> None:
    with pytest.raises(LookupFailed, match="no such host"):
        look_up(with_records('"a"'), "a..b")
