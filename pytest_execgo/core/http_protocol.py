"""The HTTP side of our servers' connections: uvicorn's httptools protocol, with a bound on what comes before a body."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX = 64 * 1024
"""Bytes of a request line and its headers together; what a longer one has sent by then is all that is ever held of it."""


class BoundedHead(HttpToolsProtocol):
    """Refuses a request whose head is larger than `HEAD_MAX` with 400: httptools itself would hold any number of bytes."""

    _head = 0  # bytes of a head that is not complete
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        if not self._in_head:
            self._head = 0
        elif not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD_MAX:
                self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a head is complete."""
        self._in_head = False
        super().on_headers_complete()
