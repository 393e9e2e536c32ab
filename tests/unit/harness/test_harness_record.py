from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execgo.core.errors import ExecGoError, StackError
from pytest_execgo.core.folder_lock import lock_folder
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.harness.record import StackRecord, read_stack_ports, take_folder
from pytest_execgo.plan.stack import Service

PORTS = {Service.KERNEL: 1111, Service.RUNTIME: 2222, Service.FIXTURES: 3333}


def test_ports_survive_a_round_trip(tmp_path: Path) -> None:
    assert read_stack_ports(tmp_path) == {}
    StackRecord.of("embedded", PORTS, os.getpid()).save(tmp_path)
    assert read_stack_ports(tmp_path) == PORTS
    record = StackRecord.load(tmp_path)
    assert record is not None
    assert (record.backend, record.owner.pid) == ("embedded", os.getpid())
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"backend": "embedded"}'])
def test_a_record_that_is_not_one_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(ExecGoError, match=r"stack\.json is not a stack's record"):
        read_stack_ports(tmp_path)


def test_a_folder_whose_owner_lives_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessIdentity, "end", lambda *_: pytest.fail("there is nothing to wait for"))
    lock = take_folder(tmp_path)
    for record in (None, StackRecord.of("embedded", PORTS, os.getpid())):
        if record is not None:
            record.save(tmp_path)
        with pytest.raises(StackError, match=f"a stack of process {os.getpid()} is in use") as refused:
            take_folder(tmp_path)
        assert refused.value.code == "stack_in_use"
    os.close(lock)
    os.close(take_folder(tmp_path))


def test_what_a_dead_owner_left_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = lock_folder(tmp_path, "stack.lock")
    code = "import sys; print('up', flush=True); sys.stdin.readline()"
    argv = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lock]) as supervisor:
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        os.close(lock)
        supervisor.stdout.readline()
        dead = ProcessIdentity(pid=os.getpid(), started="long ago", boot_id="another boot")
        left = ProcessIdentity.of(supervisor.pid)
        StackRecord(backend="embedded", ports=PORTS, owner=dead, supervisor=left).save(tmp_path)
        end = ProcessIdentity.end

        def waited_for(identity: ProcessIdentity, signum: signal.Signals | None, timeout: float) -> bool:
            assert (identity, signum) == (left, None)
            assert supervisor.stdin is not None
            supervisor.stdin.close()  # only now does it let go
            return end(identity, signum, timeout)

        monkeypatch.setattr(ProcessIdentity, "end", waited_for)
        os.close(take_folder(tmp_path))


def test_a_folder_that_can_not_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="file/below can't be used: Not a directory"):
        take_folder(tmp_path / "file" / "below")
