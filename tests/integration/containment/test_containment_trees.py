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
# a limit has to leave the time to see that a tree grew, so that all of them share one
HOW = pytest.mark.parametrize(
    ("how", "shapes"), [("timeout", [*SHAPES]), *(("cancel", [shape]) for shape in SHAPES)], ids=["timeout", *SHAPES]
)
LIMIT_MS = 5000


def gone(service: Any, unique: str) -> None:
    assert service.having(f"sleep {unique}") == []
    service.until(lambda: not service.zombies(), f"zombies: {service.tree()}")


def grown(service: Any, shape: str, unique: str) -> None:
    service.until(lambda: len(service.having(f"sleep {unique}")) >= 2 or shape == "stopped", f"{shape}: the tree did not grow")


@HOW
def test_of_a_kernels_command_nothing_survives(kernel: Any, how: str, shapes: list[str]) -> None:
    uniques = {shape: f"4{next(_NUMBERS):03}.25" for shape in shapes}
    more = {"timeout": LIMIT_MS} if how == "timeout" else {}
    for shape, unique in uniques.items():
        task = {"id": f"{shape}-{how}", "type": "shell", "params": {"script": SHAPES[shape].format(n=unique)}, **more}
        assert kernel.submit(task).status_code == 202
    for shape, unique in uniques.items():
        grown(kernel, shape, unique)
    began = time.monotonic()
    for shape in shapes:
        if how == "cancel":
            answer = kernel.client.post(f"/tasks/{shape}-{how}/cancel")
            assert answer.status_code in (200, 202), answer.text
        assert kernel.finished(f"{shape}-{how}")["status"] == "failed"
    for unique in uniques.values():
        kernel.until(lambda of=unique: not kernel.having(f"sleep {of}"), f"survivors: {kernel.tree()}")
    assert time.monotonic() - began < 20
    for unique in uniques.values():
        gone(kernel, unique)


@HOW
def test_of_a_runtimes_command_nothing_survives(runtime: Any, how: str, shapes: list[str]) -> None:
    uniques = {shape: f"5{next(_NUMBERS):03}.25" for shape in shapes}
    more = {"timeout_ms": LIMIT_MS} if how == "timeout" else {}
    handles = [
        runtime.submit({"kind": "script", "script": SHAPES[shape].format(n=unique), **more}) for shape, unique in uniques.items()
    ]
    for shape, unique in uniques.items():
        grown(runtime, shape, unique)
    for handle, unique in zip(handles, uniques.values(), strict=True):
        if how == "cancel":
            assert runtime.client.post(f"/api/v1/tasks/{handle}/kill").status_code == 200
        assert runtime.finished(handle)["error"]["code"] == ("timeout" if how == "timeout" else "cancelled")
        gone(runtime, unique)


def test_a_sibling_goes_on_while_others_are_ended(kernel: Any, tmp_path: Path) -> None:
    orphan = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo orphan; touch {tmp_path}/said"
    quiet = f"(setsid sh -c '{orphan}' &) ; while [ ! -e {tmp_path}/said ]; do sleep 0.05; done; echo parent"
    assert kernel.submit({"id": "sibling", "type": "shell", "params": {"script": quiet}}).status_code == 202
    for number in range(4):
        ended = kernel.run(f"noisy-{number}", "shell", {"script": "setsid sleep 4999 & sleep 4999"}, timeout=150)
        assert ended["status"] == "failed"
    (tmp_path / "go").touch()
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
    kernel.until(lambda: not any(word in words for _, words in kernel.tree().values() for word in ("yes ", "head ")), "it goes on")
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
