"""`python -m pytest_execgo check`, and the judgement on what real services say of themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.core.jsonio import digest
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.observability.checker import check
from pytest_execgo.observability.history import HISTORY, History, from_kernel, from_sink
from pytest_execgo.plan.history import HistoryRow
from pytest_execgo.plan.stack import Service

RUN = "run-1"
TERMINAL = ("success", "failed", "skipped")


def run_check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_execgo", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def simple(status: str, *, quiet: bool = True) -> list[dict[str, Any]]:
    """The history of one task, which was accepted and read, as far as a client can tell."""
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("invoke", "submit", {"digest": "g", "value": {"tasks": ["a"]}}),
        ("ok", "submit", {"digest": "g", "value": {"tasks": ["a"]}}),
        *([("event", "quiet", {})] if quiet else []),
        ("invoke", "read", {"task": "a"}),
        ("ok", "read", {"task": "a", "value": {"status": status}}),
    ]
    place = {"run": RUN, "boot_id": "1", "process": "client"}
    return [
        {**place, "seq": seq, "monotonic_ns": seq * 1_000_000, "wall": "", "type": type, "f": f, **rest}
        for seq, (type, f, rest) in enumerate(told, 1)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# -- the command ----------------------------------------------------------------------------------------------------------


def test_a_valid_history(tmp_path: Path) -> None:
    finished = run_check(write(tmp_path / HISTORY, simple("success")))
    assert (finished.returncode, finished.stderr) == (0, "")
    first, *rest = finished.stdout.splitlines()
    assert first == f"valid: {tmp_path / HISTORY} (5 rows: client 5, kernel 0, sink 0, nemesis 0)"
    assert "reason: no complete kernel rows: not checked: reordered, untruthful, lost in part" in rest
    assert [line.split() for line in rest if line.startswith(("stuck", "reordered"))] == [
        ["reordered", "-", "-"],
        ["stuck", "1", "0"],
    ]


def test_an_invalid_one_shows_its_witness(tmp_path: Path) -> None:
    finished = run_check(write(tmp_path / HISTORY, simple("running")).parent)
    assert finished.returncode == 1
    assert finished.stdout.splitlines()[-3:] == [
        "stuck: task a was still running when everything was quiet",
        "         2.000 ms  client quiet",
        '         4.000 ms  client read ok        task=a {"status":"running"}',
    ]


def test_one_that_shows_too_little(tmp_path: Path) -> None:
    path = write(tmp_path / f"{HISTORY}.partial", simple("success", quiet=False))
    with path.open("a") as file:
        file.write('{"run": "run-1", "se')
    finished = run_check(tmp_path)
    assert finished.returncode == 3
    assert "reason: the history has no quiet" in finished.stdout
    assert "the last line is torn" in finished.stdout


def test_as_json(tmp_path: Path) -> None:
    finished = run_check("--json", write(tmp_path / HISTORY, simple("running")))
    assert finished.returncode == 1
    document = json.loads(finished.stdout)
    assert (document["outcome"], document["counts"]["stuck"], document["torn"]) == ("invalid", 1, 0)
    assert [row["f"] for row in document["violations"][0]["witness"]] == ["quiet", "read"]


def test_a_users_mistake_is_one_clear_error(tmp_path: Path) -> None:
    finished = run_check(tmp_path)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"error: there is no {HISTORY} in {tmp_path}")
    write(tmp_path / HISTORY, [{"run": 1}])
    finished = run_check(tmp_path)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"error: {tmp_path / HISTORY}:1: ")
    assert run_check().returncode == 2


# -- real services --------------------------------------------------------------------------------------------------------


class Scene:
    """A stack, and a client of it that keeps a history."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.stack = stack
        endpoints = stack.up()
        self.client = KernelClient(endpoints.kernel, endpoints.token)
        self.fixtures = FixturesClient(endpoints.fixtures, token=endpoints.token)
        self.sink = f"{endpoints.fixtures}/effects"
        self.history = History(RUN, lambda row: None)

    def close(self) -> None:
        self.client.close()
        self.fixtures.close()

    def effect(self, name: str, *parents: str, **rest: Any) -> dict[str, Any]:
        """A task that leaves an effect in the sink."""
        wire = f"{RUN}:s:{name}:1"
        headers = {"Idempotency-Key": wire, "X-Execgo-Task": wire, "X-Fencing-Token": "1"}
        request = {"url": self.sink, "method": "POST", "headers": headers, "body": json.dumps({"kind": "note", "payload": name})}
        return {**self.named(name, *parents), "type": "os", "tool_name": "http", "input": request, **rest}

    def named(self, name: str, *parents: str) -> dict[str, Any]:
        return {"id": f"{RUN}:s:{name}:1", "depends_on": [f"{RUN}:s:{parent}:1" for parent in parents]}

    def tool(self, name: str, tool: str, *parents: str, **given: Any) -> dict[str, Any]:
        return {**self.named(name, *parents), "type": "os", "tool_name": tool, "input": given}

    def submit(self, *tasks: dict[str, Any]) -> None:
        known: dict[str, Any] = {"digest": digest(list(tasks)), "value": {"tasks": [task["id"] for task in tasks]}}
        self.history.client("invoke", "submit", **known)
        self.client.submit(tasks)
        self.history.client("ok", "submit", **known)

    def cancel(self, name: str) -> None:
        wire = f"{RUN}:s:{name}:1"
        self.history.client("invoke", "cancel", task=wire)
        self.client.cancel(wire)
        self.history.client("ok", "cancel", task=wire)

    def wait(self, *names: str, timeout: float = 60.0) -> bool:
        """Wait until tasks have ended, and note what was read."""
        asked = time.monotonic_ns()
        answer = self.client.wait([f"{RUN}:s:{name}:1" for name in names], timeout)
        for one in answer.tasks:
            content = digest([one["status"], one.get("result"), one.get("error")]) if one["status"] in TERMINAL else None
            value = {"status": one["status"], "invoked_ns": asked}
            self.history.client("ok", "read", task=one["id"], digest=content, value=value)
        return answer.done

    def judged(self, names: list[str]) -> list[HistoryRow]:
        """Read everything once more; return the rows of all observers."""
        self.history.client("event", "quiet")
        self.wait(*names, timeout=0)
        self.history.client("event", "processes", value={"left": []})
        self.history.take(from_kernel(self.client.history()[0], RUN))
        self.history.take(from_sink(self.fixtures.deliveries(), RUN, whole=True))
        return self.history.rows


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=dict(os.environ)))
    try:
        made = Scene(stack)
        yield made
        made.close()
    finally:
        stack.down()


def test_a_kernel_that_is_killed_again_and_again_is_acquitted(scene: Scene) -> None:
    """Between kills graphs with effects, retries, failures and a cancel are under way; then the record is whole and true."""
    names = []
    for turn in range(4):
        head, tail, slow, bad, after = (f"{name}{turn}" for name in ("head", "tail", "slow", "bad", "after"))
        graph = [
            scene.effect(head),
            scene.effect(tail, head),
            scene.tool(slow, "sleep", head, duration_ms=300),
            {**scene.tool(bad, "file", head, action="read", path="/nowhere/at/all"), "retry": 1},
            scene.effect(after, bad),
        ]
        scene.submit(*graph)
        names += [head, tail, slow, bad, after]
        if turn == 1:
            scene.cancel(slow)
        if turn < 3:
            scene.wait(head)
            scene.stack.kill(Service.KERNEL)
            scene.stack.restart(Service.KERNEL)
    assert scene.wait(*names)
    rows = scene.judged(names)
    verdict = check(
        rows, effects_expected={f"{RUN}:s:{name}:1": f"{RUN}:s:{name}:1" for name in names if name[:4] in ("head", "tail")}
    )
    assert (verdict.outcome, verdict.reasons, verdict.violations) == ("valid", [], [])
    assert verdict.counts["tasks_accepted"] == 20
    assert verdict.counts["effects_applied"] == 8
    assert len({row.boot_id for row in rows if row.process == "kernel"}) == 4
    statuses = {row.value["status"] for row in rows if row.f == "persist"}
    assert statuses == set(TERMINAL)


def test_what_a_kernel_says_and_what_a_client_reads_have_one_digest(scene: Scene) -> None:
    """Any end that is read differently from how it was made durable is a violation, so equal digests are what acquits."""
    scene.submit(scene.effect("one"), scene.tool("bad", "file", action="read", path="/nowhere"))
    assert scene.wait("one", "bad")
    rows = scene.judged(["one", "bad"])
    for name, status in (("one", "success"), ("bad", "failed")):
        ends = [row for row in rows if row.task == f"{RUN}:s:{name}:1" and row.value.get("status") == status]
        assert {row.process for row in ends} == {"kernel", "client"}
        assert len({row.digest for row in ends}) == 1
        assert ends[0].digest is not None
    assert check(rows).outcome == "valid"
