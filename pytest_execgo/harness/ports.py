"""Ports that nobody else can take: bound by us for the stack's life, never listened on."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Collection

from pytest_execgo.core.errors import ExecGoError, StackError, UsageError

HOST = "127.0.0.1"
_FIRST, _LAST = 20_000, 32_000  # below what systems give out: no connection gets a stack's port between two lives of it
_ATTEMPTS = 200


class PortReservation:
    """A TCP port of 127.0.0.1 held by a bound socket.

    Connections go to listening sockets only, so as long as the service is down they are refused. A service can bind
    the same port when it sets SO_REUSEPORT, as ours do; with `exclusive_service=True` also when it sets SO_REUSEADDR
    alone, as Go's servers do (Linux allows that beside a socket that doesn't listen).
    """

    def __init__(self, port: int = 0, *, what: str = "service", exclusive_service: bool = False) -> None:
        """Reserve `port`, or a free one if it is 0; `UsageError` if a given one is taken."""
        if port:
            _check_free(port, what)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if exclusive_service:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.port = self._bound(port, what)
        except ExecGoError:
            self._socket.close()
            raise

    def _bound(self, port: int, what: str) -> int:
        while True:
            chosen = port or free_port()
            try:
                self._socket.bind((HOST, chosen))
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE:  # else somebody has just taken it
                    raise _taken(chosen, what, error) from error
            else:
                return chosen

    @property
    def url(self) -> str:
        """Base URL of what is served on the port."""
        return f"http://{HOST}:{self.port}"

    def close(self) -> None:
        """Give the port up. Safe to call twice."""
        self._socket.close()


def free_port(but: Collection[int] = ()) -> int:
    """Return a port of 127.0.0.1 that nobody has, `but` none of these, out of a range that systems don't give out by themselves."""
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)  # the same in no two processes, whatever seeds tests set
        if port not in but and _untouched(port):
            return port
    raise StackError("no_port", f"no port from {_FIRST} to {_LAST} of {HOST} is free")


def _untouched(port: int) -> bool:
    """Tell whether a port is nobody's: no listener's, no reservation's of any kind, and no recent connection's."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def port_taken(port: int) -> bool:
    """Tell whether somebody has a port of 127.0.0.1."""
    try:
        _check_free(port, "service")
    except UsageError:
        return True
    return False


def _check_free(port: int, what: str) -> None:
    """Bind without SO_REUSEPORT: fails beside any listener and any other stack's reservation, not for a recent close."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise _taken(port, what, error) from error


def _taken(port: int, what: str, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            "port_taken", f"port {port} for the {what} is taken on {HOST}", "stop what listens there, or choose another"
        )
    return UsageError("port_unusable", f"port {port} for the {what} can't be had on {HOST}: {error.strerror}", "choose another")
