"""Task records as they are kept: JSON texts in the columns of a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_execgo.core.bodies import parse_json
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.runtime.models import parse_task
from pytest_execgo.runtime.tasks import Event, Outcome, Status, Streams, TaskError, TaskRecord


def outcome_text(outcome: Outcome) -> str:
    """Render an outcome."""
    error, streams = outcome.error, outcome.streams
    kept: dict[str, Any] = {"isolation": outcome.isolation} if outcome.isolation is not None else {}
    if outcome.has_output:
        kept["output"] = outcome.output
    if error is not None:
        kept["error"] = error.shown()
    if streams is not None:
        kept["streams"] = [
            streams.stdout,
            streams.stderr,
            streams.exit_code,
            streams.stdout_truncated,
            streams.stderr_truncated,
        ]
    return dumps(kept)


def read_outcome(text: str) -> Outcome:
    """Read what `outcome_text` wrote."""
    kept = json.loads(text)
    error, streams = kept.get("error"), kept.get("streams")
    return Outcome(
        error=None if error is None else TaskError(**error),
        output=kept.get("output"),
        has_output="output" in kept,
        streams=None if streams is None else Streams(*streams),
        isolation=kept.get("isolation"),
    )


def events_text(events: Sequence[Event]) -> str:
    """Render events."""
    return dumps([[event.type, event.at_ns, event.details] for event in events])


def read_events(text: str) -> list[Event]:
    """Read what `events_text` wrote."""
    return [Event(number, kind, at_ns, details) for number, (kind, at_ns, details) in enumerate(json.loads(text), 1)]


def read_record(
    task_id: str,
    handle: str,
    digest: str,
    body: bytes,
    status: str,
    boot: str,
    started_ns: int,
    finished_ns: int,
    size: int,
    outcome: str | None,
    events: str,
) -> TaskRecord:
    """Make a record again of what a database's row holds."""
    return TaskRecord(
        task_id,
        handle,
        parse_task(parse_json(body)),
        size,
        digest=digest,
        status=Status(status),
        boot=boot,
        started_ns=started_ns,
        finished_ns=finished_ns,
        outcome=None if outcome is None else read_outcome(outcome),
        events=read_events(events),
    )
