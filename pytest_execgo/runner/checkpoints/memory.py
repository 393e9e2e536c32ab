"""Checkpoints that live as long as the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

from pytest_execgo.plan.checkpoint import Checkpoint, CheckpointerConfig, ListOptions
from pytest_execgo.runner.checkpoints.codec import Codec, already_there


class MemoryCheckpointer:
    """A `Checkpointer` in memory. It keeps bytes, so that nobody holds a part of what it keeps. `now` is its clock."""

    def __init__(
        self, config: CheckpointerConfig | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.config = config or CheckpointerConfig()
        self._codec = Codec(self.config, now)
        self._threads: dict[str, dict[str, tuple[datetime, bytes]]] = {}
        self._lock = threading.Lock()

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep one more checkpoint; see `Checkpointer.put`."""
        body = self._codec.encode(checkpoint)
        with self._lock:
            thread = self._alive(checkpoint.thread_id)
            if checkpoint.id in thread:
                if thread[checkpoint.id][1] != body:
                    raise already_there(checkpoint)
                return
            self._threads[checkpoint.thread_id] = thread
            thread[checkpoint.id] = (checkpoint.created_at, body)
            for oldest in list(islice(thread, max(0, len(thread) - self.config.max_checkpoints_per_thread))):
                del thread[oldest]

    def get(self, thread_id: str, checkpoint_id: str) -> Checkpoint | None:
        """Return one checkpoint; None if there is none, or it is too old."""
        with self._lock:
            kept = self._alive(thread_id).get(checkpoint_id)
        return None if kept is None else self._codec.decode(kept[1])

    def get_latest(self, thread_id: str) -> Checkpoint | None:
        """Return the checkpoint of a thread that was put last; None if there is none."""
        found = self.list(thread_id, ListOptions(limit=1))
        return found[0] if found else None

    def list(self, thread_id: str, options: ListOptions | None = None) -> list[Checkpoint]:
        """Return the checkpoints of a thread in the order of their creation, the oldest first."""
        wanted = options or ListOptions()
        with self._lock:
            kept = [
                body
                for created_at, body in self._alive(thread_id).values()
                if (wanted.before is None or created_at < wanted.before) and (wanted.after is None or created_at > wanted.after)
            ]
        return [self._codec.decode(body) for body in kept[-wanted.limit if wanted.limit else 0 :]]

    def delete(self, thread_id: str, checkpoint_id: str) -> None:
        """Forget one checkpoint, if it is there."""
        with self._lock:
            self._alive(thread_id).pop(checkpoint_id, None)

    def delete_thread(self, thread_id: str) -> None:
        """Forget every checkpoint of a thread."""
        with self._lock:
            self._threads.pop(thread_id, None)

    def _alive(self, thread_id: str) -> dict[str, tuple[datetime, bytes]]:
        """Drop what is too old; return what the thread has left, by id in the order of creation."""
        thread = self._threads.get(thread_id, {})
        oldest = self._codec.oldest()
        if oldest is not None:
            for checkpoint_id in [name for name, (created_at, _) in thread.items() if created_at < oldest]:
                del thread[checkpoint_id]
        return thread
