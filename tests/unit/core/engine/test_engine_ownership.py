from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execgo.core.engine import ownership
from pytest_execgo.core.engine.ownership import OWNER_LABEL, alive, owner_labels


def ended_process() -> str:
    """Return the pid of a process that has ended, and whose number nobody has yet."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return str(child.pid)


def changed(**parts: str) -> dict[str, str]:
    """Return this process's labels with some of their parts replaced: `changed(boot=…)`."""
    named = {f"{OWNER_LABEL}.{part.replace('_', '-')}": value for part, value in parts.items()}
    labels = owner_labels()
    assert named.keys() <= labels.keys()
    return {**labels, **named}


def test_labels_name_this_process_and_no_other() -> None:
    labels = owner_labels()
    assert labels == owner_labels()
    assert labels[f"{OWNER_LABEL}.pid"] == str(os.getpid())
    script = "from pytest_execgo.core.engine.ownership import *; print(owner_labels()[OWNER_LABEL])"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert other
    assert other != labels[OWNER_LABEL]


def test_an_owner_that_runs_is_alive() -> None:
    assert alive(owner_labels())
    assert alive({**owner_labels(), "more": "labels"})


@pytest.mark.parametrize("part", ["pid", "started"])
def test_an_owner_that_has_ended_is_dead(part: str) -> None:
    assert not alive(changed(**{part: ended_process() if part == "pid" else "1"}))


def test_what_this_machine_ran_before_it_was_booted_is_dead() -> None:
    assert not alive(changed(boot="00000000-0000-0000-0000-000000000000"))
    # of that boot, no namespace of pids is left either
    assert not alive(changed(boot="00000000-0000-0000-0000-000000000000", pid_namespace="pid:[1]"))


def test_another_machine_is_left_alone() -> None:
    assert alive(changed(machine="another", boot="00000000-0000-0000-0000-000000000000", pid=ended_process()))
    assert alive(changed(machine="", boot="00000000-0000-0000-0000-000000000000"))


def test_a_pid_means_nothing_in_another_namespace() -> None:
    assert alive(changed(pid_namespace="pid:[1]", pid=ended_process()))


@pytest.mark.parametrize("missing", ["machine", "pid-namespace", "boot", "pid", "started"])
def test_what_is_not_labelled_by_us_is_left_alone(missing: str) -> None:
    labels = changed(pid=ended_process())
    del labels[f"{OWNER_LABEL}.{missing}"]
    assert alive(labels)
    assert alive({})
    assert alive(changed(pid="none"))


def test_a_machine_is_told_by_its_id_and_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def machine() -> str:
        return owner_labels()[f"{OWNER_LABEL}.machine"]

    file = tmp_path / "machine-id"
    monkeypatch.setattr(ownership, "_MACHINE_ID", file)
    monkeypatch.setattr("socket.gethostname", lambda: "one")
    assert machine() == ""
    file.write_text("0123456789abcdef\n")
    first = machine()
    assert first
    assert "0123456789abcdef" not in first
    monkeypatch.setattr("socket.gethostname", lambda: "two")
    assert machine() not in ("", first)
    file.write_text("\n")
    assert machine() == ""


def test_another_user_s_owner_that_is_hidden_may_live(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_ours(pid: int, number: int) -> None:
        raise PermissionError

    hidden = changed(pid=ended_process())  # /proc shows none of that number, as where others' processes are hidden
    assert not alive(hidden)
    monkeypatch.setattr(os, "kill", not_ours)
    assert alive(hidden)
    assert not alive(changed(started="1"))  # it can be seen that this is another process
