"""Sharing a service on the wire: reservations, tenants, events that are waited for."""

from __future__ import annotations

import concurrent.futures
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Launch = Callable[..., tuple["subprocess.Popen[bytes]", httpx.Client]]
SLEEP = {"kind": "sleep", "duration_ms": 60_000}


@pytest.fixture(scope="module")
def shared(launch_runtime: Launch) -> httpx.Client:
    options = ["-capacity-memory", "1000000", "-capacity-cpu", "2", "-tenant-limit", "1", "-max-concurrency", "4"]
    return launch_runtime(*options)[1]


def submit(client: httpx.Client, tenant: str = "", **limits: Any) -> str:
    body = {"execution": SLEEP, "limits": limits, "control_context": {"tenant": tenant}}
    answer = client.post("/api/v1/tasks", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["handle_id"])


def status(client: httpx.Client, handle: str) -> str:
    return str(client.get(f"/api/v1/tasks/{handle}").json()["status"])


def kill(client: httpx.Client, handle: str) -> None:
    assert client.post(f"/api/v1/tasks/{handle}/kill").json()["status"] == "cancelled"


def test_reservations_and_tenants_decide_who_runs(shared: httpx.Client) -> None:
    first = submit(shared, "a", memory_bytes=700_000, cpu_cores=1.5)
    second = submit(shared, "a")
    third = submit(shared, "b", memory_bytes=300_001)
    assert [status(shared, handle) for handle in (first, second, third)] == ["running", "accepted", "accepted"]
    seen = shared.get("/api/v1/runtime/resources").json()
    assert seen["capacity"] == {"tasks": 4, "memory_bytes": 1_000_000, "cpu_cores": 2}
    assert seen["reserved"]["running"] == {"tasks": 1, "memory_bytes": 700_000, "cpu_cores": 1.5}
    assert seen["reserved"]["queued"]["memory_bytes"] == 300_001
    assert seen["tenants"] == {
        "a": {"running": 1, "queued": 1, "limit": 1},
        "b": {"running": 0, "queued": 1, "limit": 1},
    }
    kill(shared, first)
    for handle in (second, third):
        events = shared.get(f"/api/v1/tasks/{handle}/events?after=1&wait=20s").json()["events"]
        assert events[0]["type"] == "started"
        kill(shared, handle)
    after = shared.get("/api/v1/runtime/resources").json()
    assert after["tenants"] == {}
    assert after["reserved"]["running"] == {"tasks": 0, "memory_bytes": 0, "cpu_cores": 0}


def test_what_never_fits_is_refused(shared: httpx.Client) -> None:
    for limits in ({"memory_bytes": 1_000_001}, {"cpu_cores": 2.01}):
        answer = shared.post("/api/v1/tasks", json={"execution": SLEEP, "limits": limits})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "insufficient_resources"
        assert error["details"]["limit"] == next(iter(limits))


def test_events_are_told_from_where_the_client_is_as_they_come(shared: httpx.Client) -> None:
    handle = submit(shared)
    path = f"/api/v1/tasks/{handle}/events"
    assert [event["sequence"] for event in shared.get(path).json()["events"]] == [1, 2]
    assert [event["sequence"] for event in shared.get(f"{path}?after=1").json()["events"]] == [2]
    assert shared.get(f"{path}?after=2&wait=20ms").json()["events"] == []
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(shared.get, f"{path}?after=2&wait=30s")
        kill(shared, handle)
        told = waiting.result(40).json()["events"]
    assert told[0]["sequence"] == 3
    last = shared.get(f"{path}?after=3&wait=30s").json()["events"]
    assert [event["type"] for event in last] == ["finished"]
    assert shared.get(f"{path}?after=99&wait=30s").json()["events"] == []  # it is terminal: nothing more will come
    for bad in ("x", "-1", "1.5"):
        assert shared.get(f"{path}?after={bad}").status_code == 400
