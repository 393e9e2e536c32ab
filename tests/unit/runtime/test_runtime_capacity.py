"""Reservations, tenants, interpreters, control groups: who may start, who waits, who is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.containment.control_groups import make, probe
from pytest_execgo.runtime.capacity import Capacity, Ledger
from pytest_execgo.runtime.interpreters import Interpreters
from pytest_execgo.runtime.models import Limits, parse_task
from pytest_execgo.runtime.tasks import TaskRecord


def record(name: str, tenant: str = "", **limits: Any) -> TaskRecord:
    document = {"execution": {"kind": "emit"}, "limits": limits, "control_context": {"tenant": tenant}}
    return TaskRecord(name, f"h-{name}", parse_task(document), 0)


def test_memory_and_cores_are_reserved_and_given_back() -> None:
    ledger = Ledger(Capacity(10, 10, memory_bytes=100, cpu_cores=2))
    big, small, free = record("big", memory_bytes=60, cpu_cores=1.5), record("small", memory_bytes=50), record("free")
    ledger.count(big, running=1)
    ledger.count(small, queued=1)
    assert not ledger.has_room(small.request.limits)
    assert not ledger.has_room(Limits(cpu_cores=0.6))
    assert ledger.has_room(free.request.limits)
    shown = ledger.shown()
    assert shown["capacity"] == {"tasks": 10, "memory_bytes": 100, "cpu_cores": 2}
    assert shown["reserved"] == {
        "running": {"tasks": 1, "memory_bytes": 60, "cpu_cores": 1.5},
        "queued": {"tasks": 1, "memory_bytes": 50, "cpu_cores": 0},
    }
    ledger.count(big, running=-1)
    assert ledger.next_of([small, free]) is small


def test_who_waits_for_room_is_not_overtaken() -> None:
    ledger = Ledger(Capacity(10, 10, memory_bytes=100))
    ledger.count(record("running", memory_bytes=60), running=1)
    assert ledger.next_of([record("big", memory_bytes=80), record("small", memory_bytes=1)]) is None


def test_a_tenant_that_has_its_share_holds_back_nobody_else() -> None:
    ledger = Ledger(Capacity(3, 10, tenant_limit=1))
    ledger.count(record("a1", "a"), running=1)
    a2, b1 = record("a2", "a"), record("b1", "b")
    ledger.count(a2, queued=1)
    assert ledger.next_of([a2, b1]) is b1
    assert ledger.shown()["tenants"] == {"a": {"running": 1, "queued": 1, "limit": 1}}
    ledger.count(b1, running=1)
    assert ledger.next_of([a2, record("b2", "b")]) is None
    ledger.count(record("a1", "a"), running=-1)
    assert ledger.next_of([a2]) is a2


def test_slots_bound_everything() -> None:
    ledger = Ledger(Capacity(1, 10))
    ledger.count(record("one"), running=1)
    assert ledger.next_of([record("two")]) is None


@pytest.mark.parametrize("limits", [{"memory_bytes": 101}, {"cpu_cores": 2.5}])
def test_what_never_fits_is_refused_by_name(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(HttpError, match=name) as refused:
        Ledger(Capacity(1, 1, memory_bytes=100, cpu_cores=2)).refuse_impossible(Limits(**limits))
    assert (refused.value.status, refused.value.code) == (400, "insufficient_resources")
    assert refused.value.details["requested"] == limits[name]
    Ledger(Capacity(1, 1)).refuse_impossible(Limits(**limits))


def test_only_interpreters_that_are_there_are_allowed(tmp_path: Path) -> None:
    for name in ("bash", "python3", "cobol"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    found = Interpreters({"PATH": str(tmp_path)})
    assert list(found.found) == ["bash", "python3"]
    for allowed in ("bash", "python3", str(tmp_path / "python3")):
        found.check(allowed)
    for refused in ("sh", "cobol", str(tmp_path / "cobol"), str(tmp_path / "perl"), ""):
        with pytest.raises(HttpError, match="allowed here: bash, python3"):
            found.check(refused)


def test_groups_are_made_where_limits_are_taken_and_hits_are_counted(tmp_path: Path) -> None:
    assert probe("x", tmp_path / "nowhere") == []
    (tmp_path / "cgroup.procs").touch()
    assert probe("x", tmp_path) == []  # a folder that makes no limit files is no control group
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.procs"]
    assert make([], "x", 5, 5).paths() == []
