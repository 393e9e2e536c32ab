"""The gateway between planners and models: the only one here that knows a provider's key, and sends it.

One loopback HTTP server for a process; each planning has a session with an address of its own, which nobody can guess.
"""

from __future__ import annotations

import secrets
import socket
import socketserver
import threading
from collections.abc import Iterable
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from pytest_execgo.plan.provider import ModelAccess, Secret
from pytest_execgo.providers.handler import Handler
from pytest_execgo.providers.session import Session

RETRIES = 2
BACKOFF_S = 0.5
_JOIN_S = 15.0  # longer than a connection may take to be made, which nothing can cut


class Gateway:
    """Starts with the first session, and ends with `close`; used as a context manager, or closed.

    `backoff_s` is how long the first try after an error waits when the model's service doesn't say.
    """

    def __init__(self, *, backoff_s: float = BACKOFF_S) -> None:
        self._backoff_s = backoff_s
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def open(self, access: ModelAccess, *, deadline_ms: int, retries: int = RETRIES, redact: Iterable[Secret] = ()) -> Session:
        """Open a way to a model for one planning, for `deadline_ms` from now on.

        A request is tried again at most `retries` times. Whatever is written down or passed on is without the access's key, and
        without the texts in `redact`.
        """
        with self._lock:
            if self._server is None:
                self._server = _Server()
            server, name = self._server, secrets.token_urlsafe(16)
            server.sessions[name] = Session(
                access,
                f"http://127.0.0.1:{server.port}/{name}/v1",
                deadline_ms=deadline_ms,
                retries=retries,
                backoff_s=self._backoff_s,
                redact=redact,
                forget=lambda: server.forget(name),
            )
            return server.sessions[name]

    def close(self) -> None:
        """Close every session, end every connection and thread. Safe to call twice; a later `open` starts anew."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """A thread for each connection. All of them are ended and waited for by `end`."""

    request_queue_size = 128

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        self._ending = False
        super().__init__(("127.0.0.1", 0), Handler)
        self.port: int = self.server_address[1]
        self._acceptor = threading.Thread(target=self._accept, name="model-gateway", daemon=True)
        self._acceptor.start()

    def server_bind(self) -> None:
        """Bind, without asking a name server who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def forget(self, name: str) -> None:
        """Have no session by that name any more."""
        self.sessions.pop(name, None)

    def end(self) -> None:
        """Close sessions, connections and the listening socket; return when all threads have ended."""
        for session in list(self.sessions.values()):
            session.close()
        self._ending = True
        with socket.create_connection(("127.0.0.1", self.port)):  # wakes the acceptor
            self._acceptor.join()
        self.server_close()
        with self._guard:
            connections = dict(self._connections)
        for connection in connections.values():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # ended by itself
        for thread in connections:
            thread.join(_JOIN_S)

    def _accept(self) -> None:
        while not self._ending:
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse what only wakes us."""
        return not self._ending

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="model-gateway-connection", daemon=True
        )
        with self._guard:
            self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                del self._connections[threading.current_thread()]
