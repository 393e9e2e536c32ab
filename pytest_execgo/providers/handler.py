"""The gateway's side of a planner's connection: which requests are taken, and how they are answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol, cast
from urllib.parse import unquote

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.providers.relay import relay
from pytest_execgo.providers.session import Session
from pytest_execgo.providers.upstream import Call

LARGEST_REQUEST = 32 << 20  # bytes
_MOST_DISCARDED = 8 * LARGEST_REQUEST
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
_QUERY = re.compile(r"[\x21-\x7e]*")
_BODILESS = (204, 304)


class _Sessions(Protocol):
    """What the handler needs of its server."""

    sessions: dict[str, Session]


class Refused(Exception):
    """A request that is not passed on; `close` when the rest of the connection can't be understood."""

    def __init__(self, status: int, code: str, message: str, *, close: bool = False) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message, self.close = status, code, message, close


class Handler(BaseHTTPRequestHandler):
    """One connection; GET and POST below `/<session>/v1/`. It logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        """Pass a request on."""
        self._serve()

    def do_POST(self) -> None:
        """Pass a request on."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the path is a key to the model."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the library can't understand, without repeating it."""
        self.close_connection = True
        self.request_version = "HTTP/1.0"  # there may be none, and for that the library would leave the status out
        self.refuse(code, "method_not_allowed" if code == 501 else "bad_request", "the gateway takes GET and POST of HTTP/1.1")

    def handle(self) -> None:
        """Serve the connection to its end; a planner that goes, or is cut off, is no error."""
        try:
            super().handle()
        except OSError:
            return

    def finish(self) -> None:
        """Close what reads and writes, even when the planner has gone with an answer half sent."""
        try:
            super().finish()
        except OSError:
            return  # what could not be sent; nobody misses it
        finally:
            self.rfile.close()

    def _serve(self) -> None:
        try:
            session, call = self._call()
        except Refused as refused:
            self.close_connection = self.close_connection or refused.close
            self.refuse(refused.status, refused.code, refused.message)
            return
        with session.serving(self.connection):
            relay(session, call, self)

    def _call(self) -> tuple[Session, Call]:
        body = self._body()
        path, _, query = self.path.partition("?")
        _, name, version, *rest = [*path.split("/", 3), "", "", ""]
        session = cast(_Sessions, self.server).sessions.get(name)
        below = f"/{rest[0]}"
        steps = unquote(below).split("/")
        fit = _PATH.fullmatch(below) and _QUERY.fullmatch(query) and not {".", ".."} & set(steps) and version == "v1"
        if session is None or not fit:
            raise Refused(404, "not_found", "nothing is here; the address of a planning's model ends with the planning")
        headers = {header.lower(): value for header, value in self.headers.items()}
        return session, Call(self.command, below, query, headers, body)

    def _body(self) -> bytes:
        """Read the request's body; of one that is too large nothing is kept."""
        if "transfer-encoding" in self.headers:
            raise Refused(411, "length_required", "a request's body needs a Content-Length", close=True)
        said = self.headers.get_all("content-length", ["0"])
        if len(set(said)) != 1 or not re.fullmatch("[0-9]{1,15}", said[0]):
            raise Refused(400, "bad_request", "the Content-Length can't be used", close=True)
        length = int(said[0])
        if length > LARGEST_REQUEST:
            if length <= _MOST_DISCARDED:
                while length and (piece := self.rfile.read(min(length, 1 << 16))):
                    length -= len(piece)
            raise Refused(413, "body_too_large", f"a request may have {LARGEST_REQUEST} bytes", close=True)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the request ended before its body did")
        return body

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin to answer; the body's length need not be known."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self._chunked = self.request_version != "HTTP/1.0" and status not in _BODILESS
        if self._chunked:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.close_connection = True
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send bytes of the body, at once."""
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self.wfile.flush()

    def end(self) -> None:
        """End the body."""
        if self._chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def abort(self) -> None:
        """Break the answer off: the last chunk never comes."""
        self.close_connection = True

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error of the gateway's own, in the shape of OpenAI's."""
        body = dumps({"error": {"message": message, "type": "gateway_error", "param": None, "code": code}}).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
