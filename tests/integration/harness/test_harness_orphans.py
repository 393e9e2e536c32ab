"""However the owner of a stack ends, everything below it ends too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper, /proc and pidfds")

DRIVER = Path(__file__).with_name("tree_driver.py")
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@cache
def namespace() -> tuple[str, ...]:
    """Return the command prefix that runs a tree where it can't leak from, or nothing where that can't be had."""
    if shutil.which(NAMESPACE[0]) is None:
        return ()
    probe = subprocess.run([*NAMESPACE, "true"], capture_output=True)
    return NAMESPACE if probe.returncode == 0 else ()


def drive(kind: str, how: str, folder: Path) -> dict[str, Any]:
    command = [*namespace(), sys.executable, str(DRIVER), kind, how, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["said"] == "up", done.stderr
    return answer


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "exits", "raises", "forks", "supervisor"])
def test_a_hardy_tree_ends_with_its_owner(tmp_path: Path, how: str) -> None:
    answer = drive("fake", how, tmp_path)
    tree = "\n".join(answer["tree"])
    assert "supervisor.py" in tree
    assert "grows_a_tree" in tree
    assert "kill -STOP" in tree
    assert "trap" in tree
    assert tree.count("sleep 1000") >= 3
    assert answer["left"] == []


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "exits"])
def test_a_stack_and_its_commands_end_with_their_owner(tmp_path: Path, how: str) -> None:
    answer = drive("embedded", how, tmp_path)
    tree = "\n".join(answer["tree"])
    for service in ("kernel", "runtime", "fixtures"):
        assert f"serve {service}" in tree
    assert "shell-started; wait" in tree
    assert "runtime-started; wait" in tree
    assert answer["left"] == []
