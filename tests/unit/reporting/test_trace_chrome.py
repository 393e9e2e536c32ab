"""`trace.json` holds to the Trace Event Format, for the kept sweep and for whatever a timeline may say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.clock import parse_rfc3339, rfc3339
from pytest_execgo.observability.stored import StoredRun, load_run
from pytest_execgo.reporting.chrome_trace import chrome_trace
from pytest_execgo.reporting.run_trace import run_trace

RUNS = Path(__file__).parents[2] / "data" / "golden_sweep" / "runs"
GOLDEN = sorted(path.parent for path in RUNS.glob("*/result.json"))
NS = 0.0005  # half a nanosecond, in the format's microseconds


def check_format(trace: dict[str, Any]) -> None:
    """Hold a trace to the format: required fields, named lanes, slices nested or apart, flows that leave and arrive in a slice."""
    assert json.loads(dumps(trace)) == trace
    by_phase: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        by_phase[event["ph"]].append(event)
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert isinstance(event["ts"], float)
            assert event["ts"] >= 0
    assert set(by_phase) <= {"M", "X", "i", "s", "f"}
    threads = {(event["pid"], event["tid"]) for event in by_phase["M"] if event["name"] == "thread_name"}
    processes = {event["pid"] for event in by_phase["M"] if event["name"] == "process_name"}
    used = {(event["pid"], event["tid"]) for phase in "Xisf" for event in by_phase[phase]}
    assert used == threads
    assert {process for process, _ in used} == processes
    assert all(event["s"] == "t" for event in by_phase["i"])
    lanes: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in by_phase["X"]:
        assert event["dur"] >= 0
        lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in lanes.values():
        nested_or_apart(slices)
    check_flows(by_phase["s"], by_phase["f"], lanes)


def nested_or_apart(slices: Iterable[tuple[float, float]]) -> None:
    open_slices: list[tuple[float, float]] = []
    for start, end in sorted(slices, key=lambda piece: (piece[0], -piece[1])):
        while open_slices and open_slices[-1][1] <= start + NS:
            open_slices.pop()
        if open_slices:
            assert end <= open_slices[-1][1] + NS, f"{(start, end)} crosses {open_slices[-1]}"
        open_slices.append((start, end))


def check_flows(
    leaving: list[dict[str, Any]], arriving: list[dict[str, Any]], lanes: dict[tuple[int, int], list[tuple[float, float]]]
) -> None:
    starts = {event["id"]: event for event in leaving}
    ends = {event["id"]: event for event in arriving}
    assert len(starts) == len(leaving)
    assert starts.keys() == ends.keys()
    for flow, start in starts.items():
        end = ends[flow]
        assert start["ts"] <= end["ts"]
        assert (start["cat"], start["name"]) == (end["cat"], end["name"])
        assert end["bp"] == "e"
        assert any(a - NS <= start["ts"] <= b + NS for a, b in lanes[start["pid"], start["tid"]])


def slices_of(trace: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X" and event["cat"] == kind]


# -- the kept sweep -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name[17:])
def test_a_kept_run_as_a_trace(path: Path) -> None:
    run = load_run(path)
    trace = chrome_trace(run_trace(run))
    check_format(trace)
    assert run.result is not None
    first, last = run.timeline[0], run.timeline[-1]
    (whole,) = slices_of(trace, "run")
    assert whole["ts"] == 0
    assert whole["dur"] == pytest.approx((last["monotonic_ns"] - first["monotonic_ns"]) / 1000, abs=1)
    assert whole["args"]["outcome"] == run.result.outcome
    assert trace["otherData"]["began"] == first["timestamp"]
    started = [row for row in run.timeline if row["event_type"] == "stage_started"]
    assert sorted(event["name"] for event in slices_of(trace, "stage")) == sorted(f"stage {row['stage_id']}" for row in started)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name[17:])
def test_tasks_have_the_kernels_times_on_the_runs_clock(path: Path) -> None:
    run = load_run(path)
    trace = chrome_trace(run_trace(run))
    began = parse_rfc3339(run.timeline[0]["timestamp"])
    expected = {}
    for row in run.snapshots:
        times = row["task"].get("runtime") or {}
        if times.get("started_at") and times.get("finished_at"):
            expected[row["task_id"]] = tuple(parse_rfc3339(times[name]) - began for name in ("started_at", "finished_at"))
    assert expected
    found = {event["name"]: event for event in slices_of(trace, "task")}
    assert found.keys() == expected.keys()
    for name, (start, finish) in expected.items():
        # an event's wall and monotonic times are read one after the other: the two clocks agree to microseconds
        assert found[name]["dur"] == pytest.approx((finish - start) / 1000, abs=500)
        assert found[name]["ts"] == pytest.approx(start / 1000, abs=500)
    assert "kernel_clock_moved_ns" not in trace["otherData"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name[17:])
def test_dependencies_and_bindings_are_flows(path: Path) -> None:
    run = load_run(path)
    trace = chrome_trace(run_trace(run))
    kinds = [event["cat"] for event in trace["traceEvents"] if event["ph"] == "s"]
    plan = json.loads((path / "plan.json").read_text())
    dependencies = sum(len(task.get("depends_on", [])) for stage in plan["stages"] for task in stage["task_graph"]["tasks"])
    bindings = sum(len(stage.get("bindings", [])) for stage in plan["stages"])
    assert kinds.count("dependency") == dependencies
    assert kinds.count("binding") == bindings
    assert dependencies
    assert bindings


def test_faults_last_from_injected_to_lifted() -> None:
    lasting = 0
    for path in GOLDEN:
        run = load_run(path)
        trace = chrome_trace(run_trace(run))
        begins = [row for row in run.timeline if row["event_type"] == "fault_injected"]
        ends = [row for row in run.timeline if row["event_type"] == "fault_lifted"]
        faults = slices_of(trace, "fault")
        assert len(faults) == len(begins) == len(ends)
        for fault, begin, end in zip(faults, begins, ends, strict=True):
            assert fault["name"] == "restart runtime"
            assert fault["dur"] == pytest.approx((end["monotonic_ns"] - begin["monotonic_ns"]) / 1000, abs=1)
            assert fault["args"]["hit"] is True
            lasting += 1
    assert lasting == 2


# -- whatever a timeline may say ------------------------------------------------------------------------------------------

KINDS = [
    *("run_started", "plan_obtained", "plan_rejected", "checkpoint_saved", "service_lost", "recovery_decided", "stop_ordered"),
    *("verdict_reached", "run_finished", "run_resumed", "made_up", "submit_refused", "fault_spared"),
    *2 * ("stage_started", "stage_submitted", "stage_finished", "binding_applied", "service_restarted"),
    *4 * ("task_observed", "fault_injected", "fault_lifted"),
]
BEGAN = 1_900_000_000_000_000_000
WIRES = [f"run-1:s:{name}:1" for name in "abcd"]
odd = st.none() | st.text(max_size=5) | st.integers() | st.floats() | st.lists(st.floats(), max_size=2)
ODD: Any = object()


def mostly(*good: Any) -> st.SearchStrategy[Any]:
    """One of these values, now and then something that nobody would write."""
    return st.sampled_from([*(good * (12 // len(good) + 1)), ODD]).flatmap(lambda value: odd if value is ODD else st.just(value))


def walls(least_ms: int, most_ms: int) -> st.SearchStrategy[Any]:
    return st.integers(least_ms, most_ms).flatmap(lambda ms: mostly(rfc3339(BEGAN + ms * 1_000_000)))


@st.composite
def timelines(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    at_ms = draw(st.integers(0, 10**6))
    began_ms = at_ms
    for seq, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=40)), 1):
        at_ms += draw(st.integers(0, 20) | st.sampled_from([0, 0, -1_000]))
        wire = draw(mostly(*WIRES))
        metadata: dict[str, Any] = {"wire_id": wire, "fault": draw(mostly(0, 1)), "took_ms": draw(mostly(0.5, 12.0, -1.0, 1e300))}
        metadata |= {"wire_ids": draw(mostly([wire], WIRES)), "source": draw(mostly("a.output.x", "b.y")), "odd": draw(odd)}
        row = {"seq": seq, "event_type": kind, "status": draw(mostly("ok", "success", "failed"))}
        row |= {"stage_id": draw(mostly("s")), "task_id": draw(mostly("a", "b", "c"))}
        wall = rfc3339(BEGAN + (at_ms - began_ms) * 1_000_000)
        row |= {"timestamp": draw(mostly(wall)), "monotonic_ns": draw(mostly(at_ms * 1_000_000))}
        rows.append({**row, "metadata": draw(mostly(metadata))})
    return rows


@st.composite
def snapshots(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        runtime = {"started_at": draw(walls(-5, 100)), "finished_at": draw(walls(0, 200)), "attempt": draw(mostly(1, 2))}
        parents = draw(mostly(*([wire] for wire in WIRES)))
        task = {"id": draw(mostly(*WIRES)), "runtime": draw(mostly(runtime)), "depends_on": parents, "error": draw(mostly(None))}
        rows.append({"task": draw(mostly(task))})
    return rows


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    at_ms, rows = 0, []
    for f in draw(st.lists(st.sampled_from(["start", "start", "end", "boot"]), max_size=20)):
        at_ms += draw(st.integers(-1, 10))
        value = {"outcome": draw(mostly("success", "failed", "cancelled"))}
        row = {"process": draw(mostly("kernel")), "wall": draw(walls(at_ms, at_ms)), "f": f, "task": draw(mostly(*WIRES))}
        rows.append({**row, "attempt": draw(mostly(1, 2)), "value": draw(mostly(value))})
    return rows


@settings(max_examples=150, deadline=None)
@given(timelines(), snapshots(), histories())
def test_any_timeline_becomes_a_trace(
    timeline: list[dict[str, Any]], seen: list[dict[str, Any]], history: list[dict[str, Any]]
) -> None:
    trace = chrome_trace(run_trace(StoredRun(Path("run-1"), timeline=timeline, snapshots=seen, history=history)))
    check_format(trace)
    kinds = [row["event_type"] for row in timeline]
    assert len(slices_of(trace, "stage")) == kinds.count("stage_started")
    assert len(slices_of(trace, "fault")) == kinds.count("fault_injected")
