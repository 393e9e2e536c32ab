"""Where HTTP/1.1 messages begin and end in a stream of bytes, told by h11."""

from __future__ import annotations

import h11

_MOST_HEAD = 256 * 1024  # bytes of a head; beyond, the stream is not taken for HTTP
_END = h11.EndOfMessage()


class Framing:
    """One message. `head` is there once it is complete, `interim` tells a 1xx answer, `done` that the message is over."""

    def __init__(self, parser: h11.Connection) -> None:
        self._parser = parser
        self._body = 0
        self._left: int | None = None
        self.head: h11.Request | h11.Response | h11.InformationalResponse | None = None
        self.done = False

    @property
    def interim(self) -> bool:
        """Whether this is an answer before the answer (1xx)."""
        return isinstance(self.head, h11.InformationalResponse)

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the message; return what comes after it. `h11.ProtocolError` when this is no HTTP/1.1."""
        if self._left is None:
            self._parser.receive_data(data)
            return self._advance()
        used = min(self._left, len(data))
        self._left -= used
        self.done = self._left == 0
        return data[used:] if used < len(data) else b""

    def feed_end(self) -> bool:
        """Take the end of the stream; tell whether the message is whole."""
        if not self.done and self.head is not None and self._left is None:
            self._parser.receive_data(b"")
            try:
                self._advance()
            except h11.RemoteProtocolError:
                return False
        return self.done

    def _advance(self) -> bytes:
        while not self.done:
            event = self._parser.next_event()
            if isinstance(event, h11.Data):
                self._body += len(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.InformationalResponse):
                self.done = True
                self.head = self.head or (event if isinstance(event, h11.InformationalResponse) else None)
            elif isinstance(event, h11.Request | h11.Response):
                self.head = event
            else:
                self._left = self._to_come()
                return b""
        return self._parser.trailing_data[0]

    def _to_come(self) -> int | None:
        """Return how much of a body of known length is still to come; counting it is far cheaper than parsing it."""
        if self.head is None:
            return None
        headers = dict(self.head.headers)
        if b"transfer-encoding" in headers or b"content-length" not in headers:
            return None
        return int(headers[b"content-length"]) - self._body


def request_framing() -> Framing:
    """Return the framing of a request that is about to come."""
    return Framing(h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD))


def response_framing(method: str) -> Framing:
    """Return the framing of an answer, interim or final, to a request with this method."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "upstream")]))
    parser.send(_END)
    return Framing(parser)
