"""A way out for commands without a network: an HTTP proxy outside, which reaches the allowed hosts and nobody else.

The command's network has no interface but its own 127.0.0.1. Before it begins, a listening socket is made there and handed to
the proxy here, which answers on it: nothing of ours runs inside, and there is no other way. The proxy resolves names itself
and compares what is asked for with what is allowed to the letter, so it holds whoever asks to hosts, not to what is said to
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11

from pytest_execgo.core.errors import SandboxError

_HEAD = 65_536  # bytes
_PIECE = 65_536
_PATIENCE = 30.0  # seconds for a request's head, and for a connection to a host
_AT_ONCE = 128  # connections
_HOP = {b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"te", b"trailer", b"upgrade", b"host"}
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]-]+")
_REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}

Address = tuple[str, int]


def proxy_environment(port: int) -> dict[str, str]:
    """Return the variables by which programs learn of a proxy at 127.0.0.1."""
    url = f"http://127.0.0.1:{port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {**dict.fromkeys(names, url), "NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}


class Refused(Exception):
    """A request gets `status` and a line of text, and nothing else happens."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class AllowedHosts:
    """Hosts that may be reached, each on any port or on one: `example.org`, `example.org:443`, `[2001:db8::1]:443`."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._pairs = {self._parsed(host) for host in hosts}

    @staticmethod
    def _parsed(text: str) -> tuple[str, int | None]:
        try:
            split = urlsplit(f"//[{text}]" if text.count(":") > 1 and "[" not in text else f"//{text}")
            host, port = split.hostname, split.port
        except ValueError:
            host = port = None
        if not host or not _HOST.fullmatch(text):
            hint = "write host or host:port, such as pypi.org:443"
            raise SandboxError("bad_host", f"{text!r} is no host that can be allowed", hint)
        return host.rstrip(".").lower(), port

    def __contains__(self, address: Address) -> bool:
        host = address[0].rstrip(".").lower()
        return (host, None) in self._pairs or (host, address[1]) in self._pairs


class EgressProxy:
    """A proxy for one command, in a thread of its own; a context manager. `SandboxError` for hosts that are none."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._allowed = AllowedHosts(hosts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="egress-proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)

    def __enter__(self) -> EgressProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def serve(self, listener: socket.socket) -> None:
        """Answer on a listening socket, wherever it was made; it is the proxy's from now on."""
        listener.setblocking(False)
        self._start(self._accept(listener))

    def take_over(self, path: Path) -> None:
        """Wait in the background, at a Unix socket made at `path`, for a listening socket that is handed over there, and serve it.

        `egress_inside.py` hands one over. Exactly one is taken; then the Unix socket is gone.
        """
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(path))
        path.chmod(0o666)  # whoever runs inside; nothing can be done with it but this
        door.listen(1)
        door.setblocking(False)
        self._start(self._take_over(door, path))

    def _start(self, work: Any) -> None:
        def begin() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)

    async def _stop(self) -> None:
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_over(self, door: socket.socket, path: Path) -> None:
        with door:
            try:
                visitor, _ = await self._loop.sock_accept(door)
            finally:
                path.unlink(missing_ok=True)  # noqa: ASYNC240 - one name, once
        with visitor:
            visitor.settimeout(_PATIENCE)
            _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, visitor, 16, 1, socket.MSG_CMSG_CLOEXEC)
            if fds:
                self.serve(socket.socket(fileno=fds[0]))
                visitor.send(b"1")

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                await self._room.acquire()
                try:
                    connection, _ = await self._loop.sock_accept(listener)
                except BaseException:
                    self._room.release()
                    raise
                self._start(self._answer(connection))

    async def _answer(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=_HEAD)
            try:
                await self._converse(reader, writer)
            except Refused as refusal:
                writer.write(_refusal(refusal))
                await writer.drain()
            finally:
                await _close(writer)
        except (OSError, asyncio.IncompleteReadError):  # it went away
            return
        finally:
            self._room.release()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        tunnel = request.method == b"CONNECT"
        split = _target(request.target, tunnel)
        address = (split.hostname or "", split.port or 80)
        if address not in self._allowed:
            raise Refused(403, f"{address[0]}:{address[1]} is not among the allowed hosts")
        there, back = await self._connect(address)
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                back.write(_head(request, split))
            await _either(_relay(reader, back), _relay(there, writer))
        finally:
            await _close(back)

    async def _connect(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._loop.getaddrinfo(*address, type=socket.SOCK_STREAM)
                numbers = [number for info in found if _trusted(address[0], number := str(info[4][0]))]
                if not numbers:
                    raise Refused(403, f"{address[0]} leads to this machine or its link, which has to be allowed by its address")
                return await asyncio.open_connection(numbers[0], address[1], limit=_HEAD)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise Refused(502, f"{address[0]}:{address[1]}: {error or 'no answer'}") from error


def _trusted(host: str, number: str) -> bool:
    """Tell whether a name may lead to an address: who serves a name's records must not choose this machine."""
    address = ipaddress.ip_address(number.split("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if host.rstrip(".").lower() in ("localhost", str(address), number):
        return True
    near = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return not (near or _is_this_machines(address))


def _is_this_machines(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address is one of an interface here. Nothing is sent.

    Only such a one can be bound to, but where the system lets any be (`ip_nonlocal_bind`). There a bound socket of IPv4 still
    can't be connected from an address of nobody here; in IPv6 what is connected to an own address is connected from that.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as bound, socket.socket(family, socket.SOCK_DGRAM) as free:
        try:
            bound.bind((str(address), 0))
        except OSError:
            return False
        connected = bound if address.version == 4 else free
        try:
            connected.connect((str(address), 9))
        except OSError as error:  # any other is no proof that it is somebody else's
            return error.errno not in (errno.ENETUNREACH, errno.EINVAL)
        return ipaddress.ip_address(connected.getsockname()[0]) == address


async def _request(reader: asyncio.StreamReader) -> h11.Request:
    try:
        async with asyncio.timeout(_PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(head)
        event = parser.next_event()
    except (asyncio.LimitOverrunError, TimeoutError, h11.RemoteProtocolError) as error:
        raise Refused(400, "no request that a proxy understands") from error
    if not isinstance(event, h11.Request):
        raise Refused(400, "no request that a proxy understands")
    return event


def _target(target: bytes, tunnel: bool) -> SplitResult:
    try:
        text = target.decode("ascii")
        split = urlsplit(f"//{text}" if tunnel else text)
        port = split.port
        complete = bool(split.hostname) and (bool(port) if tunnel else split.scheme == "http")
        clean = split.username is None and "\\" not in split.netloc
    except ValueError:
        complete = clean = False
    if not (complete and clean):
        raise Refused(400, "the target must be host:port after CONNECT, else an absolute http:// address")
    return split


def _head(request: h11.Request, split: SplitResult) -> bytes:
    """Return the request as the host gets it: one on its connection, and for the host that was compared."""
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    lines = [b"%s %s HTTP/1.1" % (request.method, path.encode("ascii")), b"Host: " + split.netloc.encode("ascii")]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers if name.lower() not in _HOP]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _refusal(refusal: Refused) -> bytes:
    text = f"{refusal}\n".encode()
    head = f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _either(up: Awaitable[None], down: Awaitable[None]) -> None:
    """Relay both ways until what comes back has ended."""
    sending = asyncio.ensure_future(up)
    try:
        await down
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
