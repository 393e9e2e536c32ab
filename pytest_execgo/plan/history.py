"""The history of a run: what four observers who don't know of each other saw, and the judgement on it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document

Observer = Literal["client", "kernel", "sink", "nemesis"]
RowType = Literal["invoke", "ok", "fail", "info", "event"]
HistoryOutcome = Literal["valid", "invalid", "unknown"]


class HistoryRow(Document):
    """One line of `history.jsonl`.

    `process` is the observer; `seq` counts its rows from 1 within `boot_id`, the identity of one life of its process.
    `monotonic_ns` orders rows of one machine; `wall` is RFC 3339 in UTC. A client's call is `invoke`, then `ok`, `fail` or
    `info` (a timeout or a reset: nobody knows whether it was done); all else is an `event`. `f` says what was called or
    what happened. `task` is the kernel's global id. `idem_key` and `digest` identify an effect, or a submission's content.
    """

    run: str
    seq: int
    boot_id: str
    monotonic_ns: int
    wall: str
    process: Observer
    type: RowType
    f: str
    task: str | None = None
    attempt: int | None = None
    idem_key: str | None = None
    digest: str | None = None
    value: dict[str, Any] = Field(default_factory=dict)


class Violation(Document):
    """A promise that was broken: which check found it, in one sentence, and the fewest rows that show it."""

    check: str
    message: str
    witness: list[HistoryRow] = Field(default_factory=list)


class HistoryVerdict(Document):
    """The judgement on a history; `reasons` holds doubts, and what could not be checked.

    `counts` holds, for each check that could be made, its violations (`lost`) and how much it looked at (`lost_checked`), beside
    figures of the history (`rows`, `tasks_accepted`, `effects_applied`, `deliveries_repeated`). `violations` shows 20 a check.
    """

    outcome: HistoryOutcome
    reasons: list[str] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)
    violations: list[Violation] = Field(default_factory=list)
