"""Process trees of every shape, through both services: nothing survives, nothing is left to reap, siblings go on."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

SHAPES = {
    "own_session": "setsid sleep {n} & sleep {n}",
    "double_fork": "(setsid sh -c 'setsid sleep {n} & ' &) ; sleep {n}",
    "ignores_term": "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; sleep {n}' & sleep {n}",
    "stopped": "setsid sleep {n} & kill -STOP $!; sleep {n} & kill -STOP $!; kill -STOP $$; sleep {n}",
    "pipe_held": "setsid sleep {n} & disown 2>/dev/null; sleep {n}",
    "no_environment": "env -i setsid env -i sh -c 'env -i setsid sleep {n} & env -i sleep {n}' & sleep {n}",
}
_NUMBERS = itertools.count(1)


def gone(service: Any, unique: str) -> None:
    assert service.having(f"sleep {unique}") == []
    service.until(lambda: not service.zombies(), f"zombies: {service.tree()}")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_of_a_kernels_command_nothing_survives(kernel: Any, shape: str, how: str) -> None:
    unique = f"4{next(_NUMBERS):03}.25"
    name = f"{shape}-{how}"
    task = {"id": name, "type": "shell", "params": {"script": SHAPES[shape].format(n=unique)}}
    assert kernel.submit({**task, "timeout": 400} if how == "timeout" else task).status_code == 202
    kernel.until(lambda: len(kernel.having(f"sleep {unique}")) >= 2 or shape == "stopped", "the tree did not grow")
    began = time.monotonic()
    if how == "cancel":
        answer = kernel.client.post(f"/tasks/{name}/cancel")
        assert answer.status_code in (200, 202), answer.text
    ended = kernel.finished(name)
    assert ended["status"] == "failed"
    kernel.until(lambda: not kernel.having(f"sleep {unique}"), f"survivors: {kernel.tree()}")
    assert time.monotonic() - began < 8
    gone(kernel, unique)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_of_a_runtimes_command_nothing_survives(runtime: Any, shape: str, how: str) -> None:
    unique = f"5{next(_NUMBERS):03}.25"
    script = {"kind": "script", "script": SHAPES[shape].format(n=unique)}
    handle = runtime.submit({**script, "timeout_ms": 400} if how == "timeout" else script)
    runtime.until(lambda: len(runtime.having(f"sleep {unique}")) >= 2 or shape == "stopped", "the tree did not grow")
    if how == "cancel":
        assert runtime.client.post(f"/api/v1/tasks/{handle}/kill").status_code == 200
    ended = runtime.finished(handle)
    assert ended["error"]["code"] == ("timeout" if how == "timeout" else "cancelled")
    gone(runtime, unique)


def test_a_sibling_goes_on_while_others_are_ended(kernel: Any) -> None:
    quiet = "(setsid sh -c 'sleep 2; echo orphan' &) ; sleep 2; echo parent"
    assert kernel.submit({"id": "sibling", "type": "shell", "params": {"script": quiet}}).status_code == 202
    for number in range(4):
        ended = kernel.run(f"noisy-{number}", "shell", {"script": "setsid sleep 4999 & sleep 4999"}, timeout=150)
        assert ended["status"] == "failed"
    assert sorted(kernel.finished("sibling")["result"]["stdout"].split()) == ["orphan", "parent"]
    gone(kernel, "4999")


def test_a_flood_leaves_the_kernel_small_and_quick(kernel: Any) -> None:
    half = "yes 0123456789abcde | head -c 300000000"
    assert kernel.submit({"id": "flood", "type": "shell", "params": {"script": f"{half} & {half} >&2; wait"}}).status_code == 202
    slowest = 0.0
    while kernel.client.get("/tasks/flood").json()["status"] not in ("success", "failed"):
        began = time.monotonic()
        assert kernel.client.get("/health").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    result = kernel.finished("flood")["result"]
    for stream in ("stdout", "stderr"):
        assert len(result[stream].encode()) <= 4 * 1024 * 1024
        assert "bytes dropped …" in result[stream]
        assert result[f"{stream}_truncated"] is True
    assert slowest < 5
    peak = [
        int(line.split()[1])
        for pid in (kernel.process.pid, *kernel.tree())
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    assert max(peak) < 450_000  # KiB; 600 MB were written


def test_the_environment_of_commands_is_an_allow_list(kernel: Any, runtime: Any) -> None:
    script = "env; tr '\\0' '\\n' < /proc/self/environ; tr '\\0' '\\n' < /proc/self/cmdline; cat /proc/$$/environ"
    seen = kernel.run("env", "shell", {"script": script})["result"]["stdout"]
    told = runtime.finished(runtime.submit({"kind": "script", "script": script, "env": {"ASKED_FOR": "yes"}}))["stdout"]
    for text in (seen, told):
        assert "canary" not in text
        assert "EXECGO" not in text
        assert "TZ=UTC" in text
        assert "PATH=" in text
    assert "ASKED_FOR=yes" in told
    answer = kernel.run("argv", "shell", {"command": "cat", "args": ["/proc/self/cmdline"]})
    assert answer["result"]["stdout"] == "cat\0/proc/self/cmdline\0"


def test_the_whole_environment_can_be_asked_for(start_service: Any) -> None:
    kernel = start_service("kernel", EXECGO_COMMAND_ENV="inherit", EXECGO_SECRET="canary-one", AWS_SECRET="canary-two")
    seen = kernel.run("env", "shell", {"script": "env"})["result"]["stdout"]
    assert "AWS_SECRET=canary-two" in seen
    assert "canary-one" not in seen
    assert [line for line in seen.splitlines() if line.startswith("EXECGO")] == []
