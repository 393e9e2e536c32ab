"""TXT records, which the standard library can't ask for: one DNS query over UDP (RFC 1035), over TCP when cut short."""

from __future__ import annotations

import asyncio
import secrets
import struct
from pathlib import Path

_TXT = 16
_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_TRUNCATED = 0x0200
_NO_SUCH_NAME = 3
_PATIENCE = 5.0  # seconds that one server gets


class LookupFailed(Exception):
    """No answer, or one that says that there is none; the message is Go's."""


async def query_txt(name: str) -> list[str]:
    """Return a name's TXT records, each joined to one string."""
    try:
        question = b"".join(bytes([len(label)]) + label for label in name.rstrip(".").encode("idna").split(b".")) + b"\0"
    except (UnicodeError, ValueError) as error:
        raise LookupFailed("no such host") from error
    problem = "no such host"
    for server in name_servers():
        try:
            async with asyncio.timeout(_PATIENCE):
                return _texts(await _ask(server, question))
        except TimeoutError:
            problem = f"read udp {server}:53: i/o timeout"
        except OSError as error:
            problem = f"dial udp {server}:53: {(error.strerror or str(error)).lower()}"
        except (struct.error, IndexError):
            problem = "cannot unmarshal DNS message"
    raise LookupFailed(problem)


def name_servers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """Return the name servers of a resolv.conf; the local one when it names none."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    return [parts[1] for parts in words if len(parts) > 1 and parts[0] == "nameserver"][:3] or ["127.0.0.1"]


class _Reply(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.data.done():
            self.data.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.data.done():
            self.data.set_exception(exc)


async def _ask(server: str, question: bytes) -> bytes:
    message = _HEADER.pack(secrets.randbits(16), 0x0100, 1, 0, 0, 0) + question + struct.pack(">HH", _TXT, 1)
    transport, reply = await asyncio.get_running_loop().create_datagram_endpoint(_Reply, remote_addr=(server, 53))
    try:
        transport.sendto(message)
        answer = await reply.data
    finally:
        transport.close()
    if answer[:2] != message[:2]:
        raise LookupFailed("server misbehaving")
    if not _HEADER.unpack_from(answer)[1] & _TRUNCATED:
        return answer
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack(">H", len(message)) + message)
        return await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])
    except asyncio.IncompleteReadError as error:
        raise LookupFailed("unexpected EOF") from error
    finally:
        writer.close()


def _texts(message: bytes) -> list[str]:
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if flags & 0xF == _NO_SUCH_NAME or (not flags & 0xF and not answers):
        raise LookupFailed("no such host")
    if flags & 0xF:
        raise LookupFailed("server misbehaving")
    at = _HEADER.size
    for _ in range(questions):
        at = _after_name(message, at) + 4
    texts = []
    for _ in range(answers):
        at = _after_name(message, at)
        kind, _, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        if kind == _TXT:
            texts.append(_joined(message[at : at + length]))
        at += length
    if not texts:
        raise LookupFailed("no such host")
    return texts


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:  # a pointer ends the name
            return at + 2
        at += length + 1
    return at + 1


def _joined(data: bytes) -> str:
    parts, at = [], 0
    while at < len(data):
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += data[at] + 1
    return b"".join(parts).decode("utf-8", "replace")
