"""cli-skills commands end with all that they started, and are bounded where scripts are."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import pytest


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_timeout_ends_all_that_a_command_started(kernel: Any, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {note}; echo begun; echo warned >&2; sleep 600"
    task = kernel.run_one("cli-skills", {"command": "sh", "args": ["-c", script]}, timeout=5000)
    assert task["error"] == "cli skill command failed: signal: killed"
    assert task["result"]["output"] == "begun\nwarned\n"
    assert task["runtime"]["error"] == {"code": "external_failure", "message": task["error"], "source": "executor"}
    end = time.monotonic() + 20
    while alive(int(note.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("command", "allowed"), [("sh", False), ("/usr/bin/env", False), ("echo", True), ("/bin/echo", True)])
def test_where_scripts_are_denied_so_are_other_commands(new_kernel: Any, command: str, allowed: bool) -> None:
    kernel = new_kernel("-script-policy", "deny")
    task = kernel.run_one("cli-skills", {"command": command, "args": ["x"]})
    refusal = f'command "{command.rpartition("/")[2]}" is not in the allowed whitelist'
    assert task.get("error", "") == ("" if allowed else refusal)
    assert ("result" in task) == allowed


def test_an_open_policy_lifts_that(new_kernel: Any) -> None:
    kernel = new_kernel("-script-policy", "deny", EXECGO_SHELL_POLICY="open")
    assert kernel.run_one("cli-skills", {"command": "true"})["status"] == "success"
