"""What the durable store knows without going to disk: the envelopes of tasks that ended last, and which ids can't have a row."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_SIZE = 8 * 1024 * 1024  # characters, of all envelopes together
_MAX_ONE = _MAX_SIZE // 16
_BITS = 1 << 23  # 1 MB; of 100,000 ids one in 80 shares its bit with another


class EnvelopeCache:
    """Envelopes by id; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._size = 0

    def __contains__(self, task_id: object) -> bool:
        """Tell whether an envelope is held."""
        return task_id in self._texts

    def get(self, task_id: str) -> str | None:
        """Return an envelope, or None when it is not held."""
        return self._texts.get(task_id)

    def put(self, task_id: str, text: str) -> None:
        """Hold an envelope, unless it is very large."""
        self.drop(task_id)
        if len(text) > _MAX_ONE:
            return
        self._texts[task_id] = text
        self._size += len(text)
        while self._size > _MAX_SIZE:
            self.drop(next(iter(self._texts)))

    def drop(self, task_id: str) -> None:
        """Hold an envelope no longer."""
        text = self._texts.pop(task_id, None)
        if text is not None:
            self._size -= len(text)


class IdFilter:
    """Tells of most ids without a row that they have none. It never forgets one: the next kernel's begins anew."""

    def __init__(self, ids: Iterable[str] | None) -> None:
        """Begin with the ids of all rows; None when they are not known, so that any id may have one."""
        self._bits = bytearray(_BITS // 8) if ids is not None else bytearray(b"\xff") * (_BITS // 8)
        for task_id in ids or ():
            self.add(task_id)

    def add(self, task_id: str) -> None:
        """Note that an id has a row, or will have one."""
        at = hash(task_id) % _BITS
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, task_id: object) -> bool:
        """Tell whether an id may have a row: False is certain."""
        at = hash(task_id) % _BITS
        return self._bits[at >> 3] >> (at & 7) & 1 == 1
