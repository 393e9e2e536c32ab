"""A run in Chrome's Trace Event Format (JSON), as Perfetto opens it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.reporting.spans import Moment, RunTrace, Span

TRACE_EVENTS = "trace.json"

_COURSE, _TASKS, _ATTEMPTS, _FAULTS, _SERVICES = 1, 2, 3, 4, 5
_PROCESSES = {_COURSE: "run", _TASKS: "tasks", _ATTEMPTS: "attempts", _FAULTS: "faults", _SERVICES: "services"}
_PLACES = {"task": _TASKS, "attempt": _ATTEMPTS, "fault": _FAULTS, "restart": _SERVICES}
_STEPS, _DECISIONS = 1, 2  # lanes of the course
_MOMENTS = 1_000  # the lane, in other processes, of what happened at once
_OF_SERVICES = frozenset({"service_lost", "kernel boot"})

Lane = tuple[int, int]
"""A process and a thread of the trace."""


def chrome_trace(trace: RunTrace) -> dict[str, Any]:
    """Return a run as a trace: an object with `traceEvents`, times in microseconds since the run's first event.

    Processes are the run's course, its tasks, their attempts, the faults and the services. Steps of the course are nested in one
    lane; everything else gets the first lane that is free, so that slices of a lane are nested or apart. Dependencies and
    bindings are flows.
    """
    lanes = _lanes(trace.spans)
    events = [*_names(lanes.values(), trace), *(_slice(span, lanes[span.key]) for span in trace.spans)]
    events += (_instant(moment) for moment in trace.moments)
    events += _flows(trace, lanes)
    about = {name: str(value) for name, value in trace.attributes.items()}
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {**about, "began": rfc3339(trace.began_ns) if trace.began_ns > 0 else "unknown"},
    }


def _lanes(spans: Sequence[Span]) -> dict[str, Lane]:
    """Give every span its lane: the first of its process that is free again when it starts."""
    lanes: dict[str, Lane] = {span.key: (_COURSE, _STEPS) for span in spans if span.kind not in _PLACES}
    free: dict[int, list[int]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, span.end_ns)):
        if span.kind not in _PLACES:
            continue
        process = _PLACES[span.kind]
        ends = free.setdefault(process, [])
        lane = next((index for index, end in enumerate(ends) if end <= span.start_ns), len(ends))
        ends[lane : lane + 1] = [span.end_ns]
        lanes[span.key] = (process, lane + 1)
    return lanes


def _names(lanes: Iterable[Lane], trace: RunTrace) -> Iterator[dict[str, Any]]:
    used = {*lanes, *map(_place, trace.moments)}
    for process in sorted({process for process, _ in used}):
        name = f"run {trace.run_id}" if process == _COURSE else _PROCESSES[process]
        yield _metadata("process_name", process, 0, name=name)
        yield _metadata("process_sort_index", process, 0, sort_index=process)
    for process, lane in sorted(used):
        name = _PROCESSES[process].rstrip("s")
        if process == _COURSE:
            name = "steps" if lane == _STEPS else "decisions"
        yield _metadata("thread_name", process, lane, name="events" if lane == _MOMENTS else f"{name} {lane}")
        yield _metadata("thread_sort_index", process, lane, sort_index=lane)


def _metadata(what: str, process: int, lane: int, **args: object) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": lane, "args": args}


def _slice(span: Span, lane: Lane) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": span.name,
        "cat": span.kind,
        "ts": span.start_ns / 1000,
        "dur": (span.end_ns - span.start_ns) / 1000,
        "pid": lane[0],
        "tid": lane[1],
        "args": {**span.attributes, "outcome": span.attributes.get("outcome", span.status)},
    }


def _instant(moment: Moment) -> dict[str, Any]:
    process, lane = _place(moment)
    return {
        "ph": "i",
        "s": "t",
        "name": moment.name,
        "cat": "event",
        "ts": moment.at_ns / 1000,
        "pid": process,
        "tid": lane,
        "args": dict(moment.attributes),
    }


def _place(moment: Moment) -> Lane:
    if moment.name in _OF_SERVICES:
        return _SERVICES, _MOMENTS
    if moment.name.startswith("fault_"):
        return _FAULTS, _MOMENTS
    return (_TASKS, _MOMENTS) if "wire_id" in moment.attributes else (_COURSE, _DECISIONS)


def _flows(trace: RunTrace, lanes: dict[str, Lane]) -> Iterator[dict[str, Any]]:
    """Yield two events an arrow. A flow belongs to the slice around its time, so it leaves within its source's last moment."""
    spans = {span.key: span for span in trace.spans}
    for number, arrow in enumerate(trace.arrows, 1):
        source, target = spans[arrow.source], spans[arrow.target]
        leaves = max(source.end_ns - 1, source.start_ns)
        common = {"cat": arrow.kind, "name": arrow.kind, "id": number}
        yield {**common, "ph": "s", "ts": leaves / 1000, "pid": lanes[source.key][0], "tid": lanes[source.key][1]}
        arrives = {"ts": max(target.start_ns, leaves) / 1000, "pid": lanes[target.key][0], "tid": lanes[target.key][1]}
        yield {**common, "ph": "f", "bp": "e", **arrives}
