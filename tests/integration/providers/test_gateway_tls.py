"""A model service behind TLS: its certificate counts, and its connections can be cut like any other."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_execgo.plan.model import ModelProfile
from pytest_execgo.plan.provider import ModelAccess, Secret
from pytest_execgo.providers import upstream
from pytest_execgo.providers.gateway import Gateway

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command that could make a certificate")
OPENSSL = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
    *("-days", "2", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"),
)


@dataclass
class Service:
    """A service with a certificate that nobody knows; it sends one event and then nothing until `hold` is set."""

    certificate: Path
    asked: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def access(self) -> ModelAccess:
        return ModelAccess(f"https://127.0.0.1:{self.port}/v1", ModelProfile(model="m"), Secret("sk-canary-1234"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    certificate, private = tmp_path / "certificate.pem", tmp_path / "private.pem"
    subprocess.run([*OPENSSL, "-keyout", private, "-out", certificate], check=True, capture_output=True)
    state = Service(certificate)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.asked.append(self.headers["authorization"])
            self.send_response_only(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\n: \n\r\n")
            state.hold.wait(60)
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            return  # a handshake that the other side gave up

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def _trusted(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(service.certificate))
    upstream._trusted.cache_clear()
    yield
    upstream._trusted.cache_clear()


def test_a_service_with_an_unknown_certificate_gets_no_request(service: Service) -> None:
    with Gateway() as gateway, gateway.open(service.access, deadline_ms=600_000, retries=0) as session:
        answer = requests.get(f"{session.url}/models", timeout=60)
    assert answer.status_code == 502
    assert "certificate verify failed" in answer.json()["error"]["message"].replace("_", " ").lower()
    assert service.asked == []


@pytest.mark.usefixtures("_trusted")
def test_a_service_with_a_trusted_one_is_asked(service: Service) -> None:
    service.hold.set()
    with Gateway() as gateway, gateway.open(service.access, deadline_ms=600_000) as session:
        assert requests.get(f"{session.url}/models", timeout=60).content == b": \n"
    assert service.asked == ["Bearer sk-canary-1234"]


@pytest.mark.usefixtures("_trusted")
def test_what_stalls_behind_tls_is_cut_at_the_deadline(service: Service) -> None:
    with Gateway() as gateway, gateway.open(service.access, deadline_ms=5_000) as session:
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            requests.get(f"{session.url}/models", timeout=60)
        assert session.exchanges[0].error == "cut: the planning's time is over"
