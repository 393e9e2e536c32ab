"""Upstreams of the standard library, links in front of them, and a look at what they leave behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from pytest_execgo.chaos.network.link import TcpLink
from pytest_execgo.chaos.network.links import Links


@dataclass
class HttpUpstream:
    """Answers every request with its number, from 1, as text; `seen` holds `(method, path, body, port of the peer)`.

    Paths choose another answer: /none (204), /chunked, /until_close, /early (an interim answer before), /large/BYTES,
    /held (not before `gate` is set), /half (breaks off).
    """

    server: ThreadingHTTPServer
    seen: list[tuple[str, str, bytes, int]] = field(default_factory=list)
    numbering: threading.Lock = field(default_factory=threading.Lock)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    peers: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.seen]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: HttpUpstream

    def setup(self) -> None:
        super().setup()
        self.upstream.peers.append(self.connection)

    def do_GET(self) -> None:
        body = self._body()
        upstream = self.upstream
        with upstream.numbering:
            upstream.seen.append((self.command, self.path, body, self.client_address[1]))
            number = str(len(upstream.seen)).encode()
        upstream.arrived.release()
        kind, _, size = self.path.strip("/").partition("/")
        if kind == "held":
            assert upstream.gate.wait(60)
        if kind == "early":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.send_response(204 if kind == "none" else 200)
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in () if self.command == "HEAD" else (number, b"-", number, b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        elif kind == "until_close":
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(number)
        elif kind == "half":
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(number)
            self.close_connection = True
        elif kind == "none":
            self.end_headers()
        else:
            answer = bytes(int(size)) if kind == "large" else number
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer)

    do_POST = do_PUT = do_HEAD = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[HttpUpstream]:
    class Handler(_Answers):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # so that closing waits for them
        found = HttpUpstream(server)
        Handler.upstream = found
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.gate.set()
        server.shutdown()
        for peer in found.peers:  # a client that a failed test left behind must not keep anybody waiting
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        thread.join()


def sockets() -> set[str]:
    """The sockets that this process has open, by their inodes."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # the folder's own descriptor
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture
def links(upstream: HttpUpstream) -> Iterator[Links]:
    """One leg named `leg`, closed before the upstream is. Afterwards neither a thread nor a socket of the proxy is left."""
    assert upstream.server.server_port
    threads, before = set(threading.enumerate()), sockets()
    with Links.start(["leg"]) as started:
        yield started
    left = {thread.name for thread in set(threading.enumerate()) - threads if "links" in thread.name or "asyncio" in thread.name}
    assert left == set()
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"}
    assert {f"socket:[{inode}]" for inode in listening} & (sockets() - before) == set()


@pytest.fixture
def link(links: Links, upstream: HttpUpstream) -> TcpLink:
    """A link that leads to the HTTP upstream."""
    links.set_upstream("leg", upstream.url)
    return links["leg"]


@pytest.fixture
def session(link: TcpLink) -> Iterator[requests.Session]:
    """A client that keeps its connection alive."""
    with requests.Session() as found:
        found.trust_env = False
        yield found


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket, for an upstream that a test plays itself."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(60)
        yield found
