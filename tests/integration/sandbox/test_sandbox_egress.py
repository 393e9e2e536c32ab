"""The way out: allowed hosts are reached through the proxy, nobody else is, and there is no way beside it."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd
from pytest_execgo.sandbox import egress
from pytest_execgo.sandbox.egress import AllowedHosts, EgressProxy
from pytest_execgo.sandbox.native import NativeConfinement

MIB = 1 << 20


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        seen = {"path": self.path, "host": self.headers["Host"], "headers": sorted(self.headers), "body": body.decode()}
        text = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        self.server.came.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as one:
        one.came = []  # type: ignore[attr-defined]
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield one
        one.shutdown()


@pytest.fixture
def proxy(server: http.server.ThreadingHTTPServer) -> Iterator[int]:
    """A proxy that allows the server, listening on a port of this machine."""
    with EgressProxy((f"127.0.0.1:{server.server_port}", "localhost")) as one:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        one.serve(listener)
        yield port


def talk(port: int, request: bytes) -> bytes:
    """Return what comes back until the connection ends: by a reset, too, where not all that was sent had been read by then."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
    return answer


def test_a_plain_request_reaches_an_allowed_host(proxy: int, server: http.server.ThreadingHTTPServer) -> None:
    host = f"127.0.0.1:{server.server_port}"
    told = f"GET http://{host}/a/b?c=d HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: x\r\nX-Mine: y\r\n\r\n"
    head, _, body = talk(proxy, told.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    seen = json.loads(body)
    assert seen["path"] == "/a/b?c=d"
    assert seen["host"] == host
    assert seen["headers"] == ["Connection", "Host", "x-mine"]


def test_a_body_goes_along(proxy: int, server: http.server.ThreadingHTTPServer) -> None:
    host = f"127.0.0.1:{server.server_port}"
    told = f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 70000\r\n\r\n".encode() + b"z" * 70000
    assert json.loads(talk(proxy, told).partition(b"\r\n\r\n")[2])["body"] == "z" * 70000


def test_a_tunnel_is_a_plain_connection(proxy: int, server: http.server.ThreadingHTTPServer) -> None:
    with socket.create_connection(("127.0.0.1", proxy), timeout=20) as connection:
        connection.sendall(f"CONNECT 127.0.0.1:{server.server_port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /in-the-tunnel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b"/in-the-tunnel" in answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://127.0.0.1:1/ HTTP/1.1", 403),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", 403),
        ("GET http://127.1:{port}/ HTTP/1.1", 403),
        ("GET http://2130706433:{port}/ HTTP/1.1", 403),
        ("GET http://[::1]:{port}/ HTTP/1.1", 403),
        ("GET http://[::ffff:127.0.0.1]:{port}/ HTTP/1.1", 403),
        ("GET http://0.0.0.0:{port}/ HTTP/1.1", 403),
        ("GET http://example.com/ HTTP/1.1", 403),
        ("GET http://127.0.0.1:{port}@evil.example/ HTTP/1.1", 400),
        ("GET http://evil.example\\@127.0.0.1:{port}/ HTTP/1.1", 400),
        ("GET https://127.0.0.1:{port}/ HTTP/1.1", 400),
        ("GET ftp://127.0.0.1:{port}/ HTTP/1.1", 400),
        ("GET / HTTP/1.1", 400),
        ("CONNECT 127.0.0.1 HTTP/1.1", 400),
        ("CONNECT 127.0.0.1:99999999 HTTP/1.1", 400),
        ("GET http://127.0.0.1:port/ HTTP/1.1", 400),
        ("nonsense", 400),
        ("GET http://" + "a" * 70_000 + "/ HTTP/1.1", 400),
        ("GET http://localhost:1/ HTTP/1.1", 502),
    ],
)
def test_everything_else_is_refused(proxy: int, server: http.server.ThreadingHTTPServer, request_line: str, status: int) -> None:
    told = request_line.replace("{port}", str(server.server_port))
    answer = talk(proxy, f"{told}\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert server.came == []  # type: ignore[attr-defined]


def own_address() -> str:
    """Return the address by which this machine would be seen elsewhere; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            any_socket.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(any_socket.getsockname()[0])


@pytest.mark.parametrize("leads_to", ["loopback", "its own address"])
def test_a_name_does_not_lead_to_this_machine(
    monkeypatch: pytest.MonkeyPatch, server: http.server.ThreadingHTTPServer, leads_to: str
) -> None:
    asked = []
    number = "127.0.0.1" if leads_to == "loopback" else own_address()

    def resolve(host: str, port: int, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with EgressProxy(("rebound.example",)) as one:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        one.serve(listener)
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", port))
            connection.sendall(f"CONNECT rebound.example:{server.server_port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert asked == ["rebound.example"]


NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c")
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
TRUSTED = """
import sys
from pytest_execgo.sandbox.egress import _trusted
print(*("own" if not _trusted("any.example", number) else "foreign" for number in sys.argv[1:]))
"""


@pytest.mark.parametrize("any_binds", [0, 1])
def test_this_machine_s_addresses_are_known_even_where_any_can_be_bound(any_binds: int) -> None:
    own = ("10.9.0.5", "10.9.0.6", "10.8.0.1", "2001:db8::5", "2001:db8::6", "::ffff:10.9.0.6")  # 10.9.0.6: connected to from .5
    foreign = ("198.51.100.1", "2001:db8::7", "2001:db8:1::1", "::ffff:198.51.100.1")
    steps = ["ip link set lo up", *(f"ip addr add {number} dev lo" for number in ("10.9.0.5/24", "10.9.0.6/24", "10.8.0.1/32"))]
    steps += [f"ip -6 addr add {number}/64 dev lo" for number in own[3:5]]
    steps += ["ip route add default dev lo src 10.9.0.5", "ip -6 route add default dev lo"]
    steps += [f"echo {any_binds} > /proc/sys/net/{family}/ip_nonlocal_bind" for family in ("ipv4", "ipv6")]
    if subprocess.run([*NAMESPACE, " && ".join(steps)], check=False, capture_output=True, env=PATH).returncode != 0:
        pytest.skip("no network namespace with addresses of its own can be made with `unshare` and `ip`")
    words = [*NAMESPACE, " && ".join([*steps, 'exec "$@"']), "sh", sys.executable, "-c", TRUSTED, *own, *foreign]
    done = subprocess.run(words, check=True, capture_output=True, env=PATH | {"PYTHONPATH": str(Path(egress.__file__).parents[2])})
    assert done.stdout.decode().split() == [*["own"] * len(own), *["foreign"] * len(foreign)]


@pytest.mark.parametrize(
    "host", ["", "*", "*.example.org", "http://example.org", "example.org/path", "a@b", "example.org:x", "a b"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(SandboxError, match="no host that can be allowed"):
        AllowedHosts([host])


def test_hosts_are_compared_to_the_letter() -> None:
    allowed = AllowedHosts(["Example.org", "pinned.example:443", "[2001:db8::1]:80", "2001:db8::2"])
    assert ("example.ORG.", 8080) in allowed
    assert ("pinned.example", 443) in allowed
    assert ("pinned.example", 80) not in allowed
    assert ("2001:db8::1", 80) in allowed
    assert ("2001:db8::2", 1) in allowed
    for host in ("sub.example.org", "example.org.evil.example", "example", "xample.org", ""):
        assert (host, 443) not in allowed


FETCH = """
import os, socket, sys, urllib.request
for url in sys.argv[1].split():
    try:
        print(url.split("/")[2], urllib.request.urlopen(url, timeout=20).status)
    except urllib.error.HTTPError as error:
        print(url.split("/")[2], error.code)
    except OSError as error:
        print(url.split("/")[2], "no way")
for host in ("127.0.0.1", "1.1.1.1"):
    try:
        socket.create_connection((host, int(sys.argv[2])), timeout=2)
        print("ESCAPED")
    except OSError:
        print("shut")
"""


def run(confinement: NativeConfinement, hosts: tuple[str, ...] | None, *arguments: str) -> ConfinedEnd:
    with tempfile.TemporaryDirectory() as work:
        Path(work, "main.py").write_text(FETCH)
        return confinement.run(
            ConfinedCommand(
                argv=("python3", "main.py", *arguments),
                cwd="/work",
                timeout=60,
                memory_bytes=256 * MIB,
                cpu_cores=2,
                disk_bytes=16 * MIB,
                processes=32,
                output_bytes=MIB,
                work=Path(work),
                hosts=hosts,
            )
        )


@pytest.fixture(params=["bubblewrap", "namespace"])
def rung(request: pytest.FixtureRequest) -> NativeConfinement:
    confinement = NativeConfinement(enabled=True, rungs=(Rung(request.param),))
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    return confinement


def test_a_confined_command_reaches_the_allowed_hosts_only(
    rung: NativeConfinement, server: http.server.ThreadingHTTPServer
) -> None:
    port = server.server_port
    urls = f"http://127.0.0.1:{port}/yes http://127.0.0.1:{port + 1}/no http://example.com/no"
    end = run(rung, (f"127.0.0.1:{port}",), urls, str(port))
    assert end.stdout.decode().splitlines() == [
        f"127.0.0.1:{port} 200",
        f"127.0.0.1:{port + 1} 403",
        "example.com 403",
        "shut",
        "shut",
    ], end
    assert server.came == ["/yes"]  # type: ignore[attr-defined]
    assert rung.isolation["network"] == "the allowed hosts, by a proxy"


def test_any_network_is_any(server: http.server.ThreadingHTTPServer) -> None:
    confinement = NativeConfinement(enabled=True)
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    end = run(confinement, (), f"http://127.0.0.1:{server.server_port}/direct", "1")
    assert end.stdout.decode().splitlines()[0] == f"127.0.0.1:{server.server_port} 200", end


def test_landlock_refuses_what_it_cant_hold() -> None:
    confinement = NativeConfinement(enabled=True, rungs=(Rung.LANDLOCK,))
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    with pytest.raises(SandboxError, match="only some hosts can be allowed where the network is the command's own"):
        run(confinement, ("example.org",), "", "1")


def test_no_thread_stays(rung: NativeConfinement, server: http.server.ThreadingHTTPServer) -> None:
    run(rung, (f"127.0.0.1:{server.server_port}",), "", "1")
    assert [thread.name for thread in threading.enumerate() if thread.name == "egress-proxy"] == []


def test_a_listener_is_handed_over_by_a_network_of_its_own(tmp_path: Path, server: http.server.ThreadingHTTPServer) -> None:
    """What a container's first process does, in a network namespace made here."""
    inside = str(Path(egress.__file__).with_name("egress_inside.py"))
    namespace = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no network namespace can be made with `unshare` and `ip`")
    port = server.server_port
    urls = f"http://127.0.0.1:{port}/yes http://127.0.0.1:{port + 1}/no"
    with EgressProxy((f"127.0.0.1:{port}",)) as one:
        one.take_over(tmp_path / "door")
        words = [sys.executable, inside, str(tmp_path / "door"), "3128", "--", sys.executable, "-c", FETCH, urls, str(port)]
        done = subprocess.run(
            [*namespace, *words],
            env=egress.proxy_environment(3128) | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            check=True,
        )
    assert done.stdout.decode().splitlines() == [f"127.0.0.1:{port} 200", f"127.0.0.1:{port + 1} 403", "shut", "shut"]
    assert server.came == ["/yes"]  # type: ignore[attr-defined]
    assert not (tmp_path / "door").exists()
