"""Control groups for commands: the one thing that bounds memory, processes and processor time of a whole tree, root's too.

Standard library only. What can be had is found out by trying (making a group and setting its limits), never by version: version 2
where its controllers can be delegated, else version 1's hierarchies, one for each controller.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_V1_FILES = {"pids": "pids.max", "memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us"}
_V2_FILES = {"pids": "pids.max", "memory": "memory.max", "cpu": "cpu.max"}
_TRIAL = {"pids": "1000", "memory": str(2**30), "cpu": "100000"}
_NO_SWAP = {"memory.max": ("memory.swap.max", "0"), "memory.limit_in_bytes": ("memory.memsw.limit_in_bytes", "")}
"""Beside a memory limit: what else holds it, where the machine has swap; "" is the limit itself."""
_PEAK = ("memory.peak", "memory.max_usage_in_bytes")
_PERIOD = 100_000  # microseconds, what the system takes when it is told nothing


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made for some controllers: `files` names the file that takes each one's limit."""

    folder: Path
    files: Mapping[str, str]

    def limits(self, pids_max: int | None, memory_bytes: int | None, cpu_cores: float | None = None) -> dict[str, int]:
        """Return what this hierarchy can bound of what is asked for: file name to value."""
        quota = None if cpu_cores is None else max(int(cpu_cores * _PERIOD), 1000)
        asked = {"pids": pids_max, "memory": memory_bytes, "cpu": quota}
        return {self.files[name]: value for name, value in asked.items() if value is not None and name in self.files}


@dataclass(slots=True)
class Group:
    """The groups of one command, one in each hierarchy that bounds something for it."""

    folders: list[Path] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Return what the launcher is to join."""
        return [str(folder) for folder in self.folders]

    def join(self, pid: int) -> None:
        """Put a process into the groups; what it starts from then on is in them, too. `OSError` when the system refuses."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def hits(self) -> dict[str, str]:
        """Return the limits that the system had to enforce, each with its evidence."""
        found = {}
        for folder in self.folders:
            if (count := _event(folder / "pids.events", "max")) > 0:
                found["pids_max"] = f"pids.events: max {count}"
            killed = _event(folder / "memory.events", "oom_kill") + _event(folder / "memory.oom_control", "oom_kill")
            if killed > 0:
                found["memory_bytes"] = f"the system killed {killed} of its processes for want of memory"
        return found

    def peak_memory(self) -> int | None:
        """Return the most bytes that the command held at once; None where nothing counts them."""
        for folder in self.folders:
            for file in _PEAK:
                with contextlib.suppress(OSError, ValueError):
                    return int((folder / file).read_text())
        return None

    def remove(self, patience: float = 0.0) -> None:
        """Give the groups back; with `patience` (seconds) what is still in them is ended, else one that holds a process stays."""
        end = time.monotonic() + patience
        for folder in self.folders:
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() >= end:
                        break
                    _end_all(folder)
                    time.sleep(0.002)  # nobody tells when an empty group can go
                else:
                    break


def probe(name: str, root: Path = _ROOT, controllers: Iterable[str] = ("pids", "memory")) -> list[Hierarchy]:
    """Return the hierarchies in which this process can make groups that really take limits; empty where there are none."""
    wanted = set(controllers)
    candidates = [
        Hierarchy(root, _V2_FILES),
        *(Hierarchy(root / controller, {controller: file}) for controller, file in _V1_FILES.items()),
    ]
    found: list[Hierarchy] = []
    for candidate in candidates:
        usable = _usable(candidate.folder, {name: file for name, file in candidate.files.items() if name in wanted}, name)
        if usable:
            found.append(Hierarchy(candidate.folder, usable))
            wanted -= set(usable)
    return found


def make(
    hierarchies: list[Hierarchy], name: str, pids_max: int | None, memory_bytes: int | None, cpu_cores: float | None = None
) -> Group:
    """Make a command's groups and set their limits; `OSError` when the system refuses, and then nothing remains."""
    group = Group()
    try:
        for hierarchy in hierarchies:
            limits = hierarchy.limits(pids_max, memory_bytes, cpu_cores)
            if limits:
                folder = hierarchy.folder / name
                folder.mkdir()
                group.folders.append(folder)
                for file, value in limits.items():
                    (folder / file).write_text(str(value))
                    _hold_swap(folder, file, value)
    except OSError:
        group.remove()
        raise
    return group


def _end_all(folder: Path) -> None:
    """Kill what is in a group; nothing new begins there from now on."""
    with contextlib.suppress(OSError):  # a hierarchy that does not count processes: then it takes more than one call
        (folder / "pids.max").write_text("0")
    with contextlib.suppress(FileNotFoundError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            if pid:  # 0 is one of another namespace
                _kill_member(folder, pid)


def _kill_member(folder: Path, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
        handle = os.pidfd_open(pid)
        try:
            if folder.name in Path(f"/proc/{pid}/cgroup").read_text():  # else the number is somebody else's by now
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _hold_swap(folder: Path, file: str, value: int) -> None:
    """Keep memory that was limited from being moved to disk instead, where the system counts that."""
    if file in _NO_SWAP:
        other, text = _NO_SWAP[file]
        with contextlib.suppress(OSError):  # a machine that has no swap, or does not count it
            if (folder / other).exists():
                (folder / other).write_text(text or str(value))


def _usable(folder: Path, files: Mapping[str, str], name: str) -> dict[str, str]:
    """Try a hierarchy: make a group, set limits in it, take it away."""
    if not files or not (folder / "cgroup.procs").exists():
        return {}
    delegation = folder / "cgroup.subtree_control"
    if delegation.exists():
        for controller in files:
            with contextlib.suppress(OSError):  # refused, or delegated already: the try below tells
                delegation.write_text(f"+{controller}")
    # whoever removes what dead processes left has to see that this one lives; threads may try at once
    trial = folder / f"{name}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        trial.mkdir()
    except OSError:
        return {}
    usable = {}
    try:
        for controller, file in files.items():
            with contextlib.suppress(OSError):
                if (trial / file).exists():
                    (trial / file).write_text(_TRIAL[controller])
                    usable[controller] = file
    finally:
        with contextlib.suppress(OSError):
            trial.rmdir()
    return usable


def _event(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
