"""What every checkpointer shares: checkpoints as bytes, and what is too old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.checkpoint import Checkpoint, CheckpointerConfig, Serde
from pytest_execgo.runner.checkpoints.serde import JsonSerde


class Codec:
    """Turns checkpoints into bytes and back with a configuration's serde; `now` is the clock by which they grow old."""

    def __init__(self, config: CheckpointerConfig, now: Callable[[], datetime]) -> None:
        self._serde: Serde = config.serde or JsonSerde()
        self._ttl = config.ttl_seconds
        self._now = now

    def encode(self, checkpoint: Checkpoint) -> bytes:
        """Return a checkpoint as bytes; `ExecGoError` (`bad_state`) when its state is no JSON."""
        return self._serde.dumps(
            {
                "id": checkpoint.id,
                "thread_id": checkpoint.thread_id,
                "parent_id": checkpoint.parent_id,
                "state": checkpoint.state,
                "metadata": checkpoint.metadata.model_dump(),
                "created_at": checkpoint.created_at.astimezone(UTC).isoformat(),
            }
        )

    def decode(self, body: bytes) -> Checkpoint:
        """Return the checkpoint of the bytes; `ExecGoError` (`bad_state`) when they hold none."""
        document = self._serde.loads(body)
        try:
            return Checkpoint.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            said = f"this is no checkpoint: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ExecGoError("bad_state", said, "states are JSON objects") from error

    def oldest(self) -> datetime | None:
        """Return the moment before which checkpoints are too old; None when they don't grow old."""
        return None if self._ttl is None else self._now() - timedelta(seconds=self._ttl)


def already_there(checkpoint: Checkpoint) -> ExecGoError:
    """Return the error for an id that another checkpoint of the thread has."""
    said = f"thread {checkpoint.thread_id!r} has another checkpoint {checkpoint.id!r}"
    return ExecGoError("checkpoint_exists", said, "checkpoints don't change; give the new one an id of its own")
