"""Runs as OpenTelemetry traces, sent by OTLP over HTTP. The one module that imports `opentelemetry` (extra `otel`)."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.reporting.spans import Moment, RunTrace, Scalar, Span
from pytest_execgo.reporting.text import one_line

PREFIX = "execgo."
SERVICE = "pytest-execgo"
BATCH = 512
"""From how many spans on a request is sent."""
_PATH = "/v1/traces"
_ERRNO = re.compile(r"\[Errno -?\d+\] ([^'\")(]+)")
_LOGGERS = ("opentelemetry.exporter.otlp", "opentelemetry.exporter.http")


_CODES = {"ok": StatusCode.OK, "failed": StatusCode.ERROR, "unknown": StatusCode.UNSET}


class _Ids(IdGenerator):  # type: ignore[misc]  # the SDK may not be installed
    """Gives each span the id that its key has, so that a run that is sent twice is one trace."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.key = ""

    def generate_trace_id(self) -> int:
        return _number(self._run_id, 16)

    def generate_span_id(self) -> int:
        return _number(f"{self._run_id}/{self.key}", 8)


def spans_of(trace: RunTrace, version: str) -> list[ReadableSpan]:
    """Return a run's spans as the SDK has them; the first is the run's own, all others lie under it.

    Ids are made from the run's id and the span's key. Tasks have links to the tasks that they waited for; a task's span covers its
    attempts, too, and its own start and end are events in it. Times are wall clock times. `version` is that of what made the run.
    """
    ids = _Ids(trace.run_id)
    unset = SpanLimits.UNSET
    provider = TracerProvider(
        resource=Resource({"service.name": SERVICE, "service.version": version}),
        id_generator=ids,
        sampler=ALWAYS_ON,
        span_limits=SpanLimits(max_events=unset, max_links=unset, max_span_attributes=unset),
        shutdown_on_exit=False,
    )
    tracer = provider.get_tracer(SERVICE, version)
    links: dict[str, list[Link]] = {}
    for arrow in trace.arrows:
        links.setdefault(arrow.target, []).append(Link(_context(trace, arrow.source), _named({"link": arrow.kind})))
    moments = _moments(trace)
    made: list[ReadableSpan] = []
    for span, start_ns, end_ns in _hulls(trace):
        ids.key = span.key
        started = tracer.start_span(
            f"task {span.name}" if span.kind == "task" else span.name,
            context=set_span_in_context(NonRecordingSpan(_context(trace, span.parent))) if span.parent is not None else None,
            attributes=_named({"kind": span.kind, **span.attributes, "run_id": trace.run_id}),
            links=links.get(span.key, ()),
            start_time=trace.began_ns + start_ns,
        )
        for moment in moments.get(span.key, ()):
            started.add_event(moment.name, _named(moment.attributes), trace.began_ns + moment.at_ns)
        started.set_status(Status(_CODES[span.status], _why(span) if span.status == "failed" else None))
        started.end(trace.began_ns + end_ns)
        made.append(started)
    return made


def _hulls(trace: RunTrace) -> Iterator[tuple[Span, int, int]]:
    """Yield every span with the times (run's clock) from which to which it is sent: a task's also cover its attempts."""
    attempts: dict[str | None, list[Span]] = {}
    for span in trace.spans:
        if span.kind == "attempt":
            attempts.setdefault(span.parent, []).append(span)
    for span in trace.spans:
        parts = [span, *attempts.get(span.key, ())]
        yield span, min(part.start_ns for part in parts), max(part.end_ns for part in parts)


def _moments(trace: RunTrace) -> dict[str, list[Moment]]:
    """Return what happened within each span, a task's own start and end included, in order of time."""
    moments: dict[str, list[Moment]] = {}
    for moment in trace.moments:
        moments.setdefault(moment.parent, []).append(moment)
    for span in trace.spans:
        if span.kind == "task":
            own = (("task started", span.start_ns), ("task ended", span.end_ns))
            moments.setdefault(span.key, []).extend(Moment(name, at, span.key, {}) for name, at in own)
    return {key: sorted(those, key=lambda moment: moment.at_ns) for key, those in moments.items()}


def export(runs: Iterable[tuple[RunTrace, str]], endpoint: str | None) -> int:
    """Send runs (each with the version that made it) to a collector, and return how many spans those were.

    `endpoint` is its base URL, or that of its traces (`…/v1/traces`); None leaves it to `OTEL_EXPORTER_OTLP_ENDPOINT`, else
    http://localhost:4318. Headers, certificates, compression and the time limit of a request (10 s, with the exporter's own
    retries) are what the standard variables say. `ExecGoError` says why a request failed; nothing is sent after that.
    """
    url = traces_url(endpoint) if endpoint is not None else None
    exporter = OTLPSpanExporter(endpoint=url)
    sent = 0
    try:
        for batch in _batches(runs):
            with _overheard() as said:
                result = exporter.export(batch)
            if result is not SpanExportResult.SUCCESS:
                where = url or "the collector that OTEL_EXPORTER_OTLP_ENDPOINT names (default: http://localhost:4318)"
                raise ExecGoError(
                    "not_exported", f"spans could not be sent to {where}: {_reason(said)}", "is a collector listening there?"
                )
            sent += len(batch)
    finally:
        exporter.shutdown()
    return sent


def traces_url(endpoint: str) -> str:
    """Return the URL to which traces are sent, for a collector's base URL or for that URL itself."""
    base = endpoint.rstrip("/")
    return base if base.endswith(_PATH) else base + _PATH


def _batches(runs: Iterable[tuple[RunTrace, str]]) -> Iterator[Sequence[ReadableSpan]]:
    """Gather whole runs until there are enough spans for a request."""
    waiting: list[ReadableSpan] = []
    for trace, version in runs:
        waiting += spans_of(trace, version)
        if len(waiting) >= BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _named(about: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {f"{PREFIX}{name}": value for name, value in about.items()}


def _why(span: Span) -> str | None:
    for name in ("reason", "error", "error_code", "outcome", "status"):
        if value := span.attributes.get(name):
            return str(value)
    return None


def _reason(said: Sequence[str]) -> str:
    """Return why a request failed, as far as the exporter says: the system's own words, where there are any."""
    errno = next((match[1] for line in said if (match := _ERRNO.search(line))), None)
    return errno or one_line("; ".join(dict.fromkeys([*said[-1:], *said[:1]])), 300) or "the exporter gave no reason"


def _context(trace: RunTrace, key: str) -> SpanContext:
    span_id = _number(f"{trace.run_id}/{key}", 8)
    return SpanContext(_number(trace.run_id, 16), span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()[:size]) or 1


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Keep what the exporter logs, which would else end up on the terminal, once for each attempt."""
    said: list[str] = []
    listener = _Listener(said)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(listener)
        logger.propagate = False
    try:
        yield said
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(listener)
            logger.propagate = propagate
