"""The envelopes of tasks that ended last, so that asking for a fresh end doesn't go to disk."""

from __future__ import annotations

_MAX_SIZE = 8 * 1024 * 1024  # characters, of all envelopes together
_MAX_ONE = _MAX_SIZE // 16


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
