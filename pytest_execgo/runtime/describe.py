"""What the service says of itself: who it is, what it can do, how it is set, what is in use."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from pytest_execgo.runtime.engine import Engine
from pytest_execgo.runtime.isolation import PROFILES
from pytest_execgo.runtime.limits import mechanisms, unenforced
from pytest_execgo.runtime.models import DEFAULT_CAPTURE_BYTES, DEFAULT_WALL_MS, MAX_CAPTURE_BYTES, Limits
from pytest_execgo.runtime.tasks import Status, rfc3339

ERROR_CODES = (
    "exit_nonzero timeout cancelled memory_limit_exceeded cpu_limit_exceeded resource_limit_exceeded launch_failed "
    "sandbox_setup_failed internal"
).split()
_DEFAULTS = {
    "wall_time_ms": DEFAULT_WALL_MS,
    "cpu_time_sec": None,
    "memory_bytes": None,
    "pids_max": None,
    "stdout_max_bytes": DEFAULT_CAPTURE_BYTES,
    "stderr_max_bytes": DEFAULT_CAPTURE_BYTES,
    "cpu_cores": None,
}


def info(engine: Engine, boot_id: str, started_ns: int) -> dict[str, Any]:
    """Return the service's identity; `boot_id` differs from process to process."""
    from importlib.metadata import version  # deferred: 20 ms of start-up that few requests need

    return {
        "name": "pytest-execgo-runtime",
        "version": version("pytest-execgo"),
        "protocol": "v1",
        "pid": os.getpid(),
        "keeper_pid": engine.runner.pid,
        "boot_id": boot_id,
        "started_at": rfc3339(started_ns),
        "uptime_ms": (time.time_ns() - started_ns) // 1_000_000,
        "platform": sys.platform,
    }


def capabilities(engine: Engine) -> dict[str, Any]:
    """Return what can be asked for, and which limits hold on this machine, and by what."""
    groups = engine.runner.groups
    not_here = unenforced(Limits(pids_max=1, cpu_cores=1), groups)
    by = mechanisms(groups)
    limits = {
        name: {"enforced": False, "reason": not_here[name]} if name in not_here else {"enforced": True, "by": by[name]}
        for name in _DEFAULTS
    }
    return {
        "execution_kinds": ["command", "script", "code", "emit", "sleep", "fail"],
        "features": ["wait", "kill", "owner", "events", "events_after", "reservations", "tenants", "idempotent_submit"],
        "interpreters": list(engine.interpreters.found),
        "limits": limits,
        "sandbox": {
            "profiles": list(filter(None, PROFILES)),
            "strict": True,
            **(engine.sandboxes.describe() if engine.sandboxes is not None else {}),
        },
        "isolation": engine.isolator.ladder.describe(),
        "policy": {"enforced": False},
        "durable": engine.store.durable,
        "error_codes": ERROR_CODES,
    }


def config(engine: Engine) -> dict[str, Any]:
    """Return the settings in force."""
    return {
        "max_concurrency": engine.capacity.max_concurrency,
        "queue_limit": engine.capacity.queue_limit,
        "capacity_memory_bytes": engine.capacity.memory_bytes,
        "capacity_cpu_cores": engine.capacity.cpu_cores,
        "tenant_limit": engine.capacity.tenant_limit,
        "default_limits": _DEFAULTS,
        "max_capture_bytes": MAX_CAPTURE_BYTES,
    }


def resources(engine: Engine) -> dict[str, Any]:
    """Return what is in use: slots, queue, and the machine's cores and load."""
    running = len(engine.running)
    return {
        "running": running,
        "queued": len(engine.waiting),
        "available": max(engine.capacity.max_concurrency - running, 0),
        "max_concurrency": engine.capacity.max_concurrency,
        "queue_limit": engine.capacity.queue_limit,
        "cpu_count": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "max_rss_kib": _peak_kib(),
        **engine.ledger.shown(),
    }


def metrics(engine: Engine) -> str:
    """Render the counters in Prometheus' text format."""
    lines = [
        "# HELP execgo_runtime_tasks_submitted_total Tasks that were accepted.",
        "# TYPE execgo_runtime_tasks_submitted_total counter",
        f"execgo_runtime_tasks_submitted_total {engine.counts['submitted']}",
        "# HELP execgo_runtime_tasks_finished_total Tasks that became terminal, by status.",
        "# TYPE execgo_runtime_tasks_finished_total counter",
    ]
    finished = [status for status in Status if status.terminal]
    lines += [f'execgo_runtime_tasks_finished_total{{status="{s}"}} {engine.counts[str(s)]}' for s in finished]
    lines += [
        "# HELP execgo_runtime_errors_total Tasks that did not succeed, by the service's own error codes.",
        "# TYPE execgo_runtime_errors_total counter",
    ]
    foreign = sum(count for code, count in engine.errors.items() if code not in ERROR_CODES)
    lines += [f'execgo_runtime_errors_total{{code="{code}"}} {engine.errors[code]}' for code in ERROR_CODES]
    lines += [f'execgo_runtime_errors_total{{code="other"}} {foreign}']
    for name, what, value in (
        ("tasks_running", "Tasks that run now.", len(engine.running)),
        ("tasks_queued", "Tasks that wait for their turn.", len(engine.waiting)),
        ("max_concurrency", "Tasks that may run at once.", engine.capacity.max_concurrency),
    ):
        lines += [
            f"# HELP execgo_runtime_{name} {what}",
            f"# TYPE execgo_runtime_{name} gauge",
            f"execgo_runtime_{name} {value}",
        ]
    return "\n".join(lines) + "\n"


def _peak_kib() -> int:
    """Return the most memory that this process has held, in KiB. What rusage tells begins with what the process was forked from."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
