"""Output bounded while it flows: the beginning and the end are kept, the middle is counted and dropped."""

from __future__ import annotations

_WORTH_SPLITTING = 128  # bytes; in less there is no room for the line between two halves


class HeadAndTail:
    """Keeps the first and the last half of `limit` bytes; never holds more than one and a half times `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail_max = limit // 2 if limit >= _WORTH_SPLITTING else 0
        self._head_room = limit - self._tail_max
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    @property
    def truncated(self) -> bool:
        """Tell whether anything was dropped."""
        return self._total > self._limit

    def feed(self, data: bytes) -> None:
        """Take what the command wrote."""
        self._total += len(data)
        room = self._head_room - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_max :] if self._tail_max else b""
        if len(self._tail) > 2 * self._tail_max:
            del self._tail[: -self._tail_max]

    def content(self) -> bytes:
        """Return what was kept, at most `limit` bytes, with a line where something is missing: `… N bytes dropped …`.

        A limit that is too small for that line keeps the beginning only.
        """
        if not self.truncated:
            return bytes(self._head + self._tail)
        if not self._tail_max:
            return bytes(self._head)
        line = _line(self._total)  # as long as the line for what is really dropped, or a digit longer
        head = self._head_room - (len(line) + 1) // 2
        tail = self._limit - head - len(line)
        return bytes(self._head[:head]) + _line(self._total - head - tail) + bytes(self._tail[-tail:])


def _line(dropped: int) -> bytes:
    return f"\n… {dropped} bytes dropped …\n".encode()
