"""The history of a run: its recorder, what the other observers tell put into its form, and stored ones read back."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import loads
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.history import HistoryRow, Observer, RowType

HISTORY = "history.jsonl"
UNNAMED_BOOT = "unnamed"
"""The `boot_id` of a service that does not tell one life from another."""


class History:
    """The recorder of one run, which is two of its observers: the client and the nemesis. Any thread may use it.

    Each row is handed to `append` at once (a run's `JsonLines`), so that a run that is killed leaves what it knew; what
    `append` raises, the recording raises. One recorder is one life: its rows share a `boot_id` of their own.
    """

    def __init__(self, run_id: str, append: Callable[[Mapping[str, Any]], None]) -> None:
        self.run_id = run_id
        self.boot_id = uuid.uuid4().hex
        self._append = append
        self._lock = threading.Lock()
        self._last: dict[Observer, int] = {"client": 0, "nemesis": 0}
        self._rows: list[HistoryRow] = []

    def client(
        self,
        type: RowType,
        f: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        digest: str | None = None,
        value: Mapping[str, Any] | None = None,
    ) -> HistoryRow:
        """Record a step of a client's call (`invoke`, then `ok`, `fail` or `info`), or an `event` of the run."""
        return self._record("client", type, f, {"task": task, "attempt": attempt, "digest": digest, "value": dict(value or {})})

    def nemesis(self, f: str, value: Mapping[str, Any]) -> HistoryRow:
        """Record what a fault did: fault_start, fault_stop, fault_spared."""
        return self._record("nemesis", "event", f, {"value": dict(value)})

    def take(self, rows: Iterable[HistoryRow]) -> None:
        """Add what other observers, or an earlier life of this run, have seen; the rows stay as they are."""
        with self._lock:
            for row in rows:
                self._keep(row)

    @property
    def rows(self) -> list[HistoryRow]:
        """Everything recorded and taken so far, in that order."""
        with self._lock:
            return list(self._rows)

    def _record(self, process: Observer, type: RowType, f: str, rest: dict[str, Any]) -> HistoryRow:
        with self._lock:  # times, numbers and lines must have one order
            seq = self._last[process] + 1
            row = HistoryRow(
                run=self.run_id,
                seq=seq,
                boot_id=self.boot_id,
                monotonic_ns=time.monotonic_ns(),
                wall=rfc3339(),
                process=process,
                type=type,
                f=f,
                **rest,
            )
            self._keep(row)
            self._last[process] = seq
        return row

    def _keep(self, row: HistoryRow) -> None:
        self._append(row.model_dump(exclude_defaults=True))
        self._rows.append(row)


def from_kernel(events: Iterable[Mapping[str, Any]], run_id: str, *, whole: bool = True) -> list[HistoryRow]:
    """Turn the kernel's journal (`GET /history`: rows without `run`) into the rows of one run.

    Kept are the run's tasks and the kernel's boots and stops. They are numbered anew within each boot, as if nobody else had
    used the kernel, such that a row that is missing in the journal is still missing. The journal may have been read from any
    line on, so the first boot's rows may begin anywhere. With `whole` false the kernel has left out the rows of others by
    itself, and what is missing can't be told. `UsageError` names a bad line.
    """
    rows = [_kernel_row(event, run_id, number) for number, event in enumerate(events, 1)]
    rows.sort(key=lambda row: (row.boot_id, row.seq))
    first = min(rows, key=lambda row: row.monotonic_ns, default=None)
    numbers = {first.boot_id: _Numbers(whole, first.seq - 1)} if first is not None else {}
    kept = []
    for row in rows:
        number = numbers.setdefault(row.boot_id, _Numbers(whole))
        number.pass_to(row.seq)
        if row.task is None or row.task.startswith(f"{run_id}:"):
            kept.append(row.model_copy(update={"seq": number.take()}))
    return merged(kept)


def _kernel_row(event: Mapping[str, Any], run_id: str, number: int) -> HistoryRow:
    where = f"the kernel's history, line {number}"
    row = _row({"process": "kernel", "type": "event", **event, "run": run_id}, where)
    if row.process != "kernel":
        raise _bad(where, f"process is {row.process!r}, not 'kernel'")
    return row


class SinkDelivery(BaseModel):
    """One entry of the effect sink's `GET /effects/deliveries`. Members that a sink does not tell are absent."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    sequence: int
    monotonic_ns: int
    wall_ns: int
    key: str
    digest: str
    outcome: Literal["applied", "repeated", "conflict", "fenced"]
    effect_id: str | None = None
    boot_id: str = UNNAMED_BOOT
    received_ns: int | None = None
    kind: str | None = None
    task: str | None = None
    token: int | None = None

    def of(self, run_id: str) -> bool:
        """Tell whether it is an effect of that run: its task is, or its key begins with the run's id."""
        return self.key.startswith(run_id) or (self.task or "").startswith(f"{run_id}:")


def from_sink(deliveries: Iterable[Mapping[str, Any]], run_id: str, *, whole: bool = False) -> list[HistoryRow]:
    """Turn what the effect sink tells (the entries of `GET /effects/deliveries`) into the rows of one run.

    Each delivery is a `deliver`, after an `intent` where the sink tells when it arrived. Numbers and errors are as in
    `from_kernel`; `whole` says that these are all deliveries since the first one, not those of `?run=`.
    """
    entries = [_delivery(entry, number) for number, entry in enumerate(deliveries, 1)]
    entries.sort(key=lambda one: one.sequence)
    numbers: dict[str, _Numbers] = {}
    passed, kept = 0, []
    for one in entries:
        number = numbers.setdefault(one.boot_id, _Numbers(whole, passed))
        number.pass_to(one.sequence)
        passed = one.sequence
        if one.of(run_id):
            kept += [row.model_copy(update={"seq": number.take()}) for row in _sink_rows(one, run_id)]
    return merged(kept)


def _delivery(entry: Mapping[str, Any], number: int) -> SinkDelivery:
    try:
        return SinkDelivery.model_validate(entry)
    except ValidationError as error:
        raise _bad(f"the effect sink's delivery {number}", _first(error)) from error


def _sink_rows(one: SinkDelivery, run_id: str) -> Iterator[HistoryRow]:
    value = {"outcome": one.outcome, "effect_id": one.effect_id, "kind": one.kind, "token": one.token}
    common: dict[str, Any] = {"run": run_id, "seq": 0, "boot_id": one.boot_id, "process": "sink", "type": "event"}
    common |= {"task": one.task, "idem_key": one.key, "digest": one.digest}
    if one.received_ns is not None:
        wall = rfc3339(one.wall_ns - (one.monotonic_ns - one.received_ns))
        yield HistoryRow(**common, monotonic_ns=one.received_ns, wall=wall, f="intent")
    known = {name: said for name, said in value.items() if said is not None}
    yield HistoryRow(**common, monotonic_ns=one.monotonic_ns, wall=rfc3339(one.wall_ns), f="deliver", value=known)


class _Numbers:
    """Numbers for the rows that are kept of one life of an observer, with as many left out as the observer's own lack."""

    def __init__(self, whole: bool, passed: int = 0) -> None:
        self._whole, self._passed, self._last = whole, passed, 0

    def pass_to(self, seq: int) -> None:
        """Come to the observer's row `seq`; those between it and the one before are missing."""
        if self._whole:
            self._last += seq - self._passed - 1
        self._passed = seq

    def take(self) -> int:
        self._last += 1
        return self._last


def read_history(path: Path) -> list[HistoryRow]:
    """Read a stored history, a row a line, as `load_history` does."""
    return load_history(path).rows


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """A history as it was read; `torn` is 1 when a killed process left a last line that is cut, which is dropped."""

    path: Path
    rows: list[HistoryRow]
    torn: int = 0


def load_history(path: Path) -> StoredHistory:
    """Read a history's file, or the one in a run's folder (that of a run that was killed is `history.jsonl.partial`).

    `UsageError` names a file that can't be read, and the line that is no row.
    """
    path = _file_of(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(
            "unreadable_file", f"{path}: {error.strerror or error}", f"give a run's folder or its {HISTORY}"
        ) from error
    rows, last = [], lines.pop()
    for number, line in enumerate(lines, 1):
        rows.append(_parsed(line, f"{path}:{number}"))
    if not last:
        return StoredHistory(path, rows)
    try:
        return StoredHistory(path, [*rows, _parsed(last, f"{path}:{len(rows) + 1}")])
    except UsageError:
        return StoredHistory(path, rows, torn=1)


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in (HISTORY, f"{HISTORY}.partial"):
        if (path / name).is_file():
            return path / name
    raise UsageError("no_history", f"there is no {HISTORY} in {path}", "give a run's folder, as var/runs/<run_id>")


def merged(rows: Iterable[HistoryRow]) -> list[HistoryRow]:
    """Put the rows of all observers in one order: by time, then by observer and number."""
    return sorted(rows, key=lambda row: (row.monotonic_ns, row.process, row.seq))


def _parsed(line: bytes, where: str) -> HistoryRow:
    try:
        document = loads(line)
    except ValueError as error:
        raise _bad(where, f"no JSON: {error}") from error
    return _row(document, where)


def _row(document: Any, where: str) -> HistoryRow:
    try:
        return HistoryRow.model_validate(document)
    except ValidationError as error:
        raise _bad(where, _first(error)) from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else str(first["msg"])


def _bad(where: str, problem: str) -> UsageError:
    return UsageError("bad_history", f"{where}: {problem}", "each line of a history is one row, as docs/observability.md has it")
