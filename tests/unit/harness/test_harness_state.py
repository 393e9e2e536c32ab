from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.harness.state import HarnessState, ServiceRecord
from pytest_execgo.plan.stack import Service, ServiceStatus


def test_this_process_is_alive() -> None:
    assert ProcessIdentity.of(os.getpid()).alive()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("changed", [{"boot_id": "another boot"}, {"started": "1"}])
def test_a_pid_of_another_boot_or_start_is_not_alive(changed: dict[str, str]) -> None:
    assert not ProcessIdentity.of(os.getpid()).model_copy(update=changed).alive()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity.alive()
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended, and nobody has reaped it
        assert not identity.alive()
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(child.pid)


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    me = ProcessIdentity.of(os.getpid())
    status = ServiceStatus(Service.KERNEL, running=False, url="http://127.0.0.1:1", exit_code=-9, log=tmp_path / "kernel.log")
    state = HarnessState(backend="embedded", keeper=me, supervisor=me, services=[ServiceRecord.of(status)])
    state.save(tmp_path)
    assert HarnessState.load(tmp_path) == state
    HarnessState.remove(tmp_path)
    assert HarnessState.load(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"backend": "embedded"}'])
def test_a_state_that_is_not_one_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "harness.json").write_text(text)
    with pytest.raises(ExecGoError, match=r"harness\.json is not a harness's state"):
        HarnessState.load(tmp_path)
