"""Control groups for commands: the one thing that bounds memory and processes of a whole tree, root's too.

Standard library only. What can be had is found out by trying (making a group and setting its limits), never by version: version 2
where its controllers can be delegated, else version 1's `pids` and `memory` hierarchies.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_V1_FILES = {"pids": "pids.max", "memory": "memory.limit_in_bytes"}
_TRIAL = {"pids": "1000", "memory": str(2**30)}
_V2_FILES = {"pids": "pids.max", "memory": "memory.max"}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made for some controllers: `files` names the file that takes each one's limit."""

    folder: Path
    files: Mapping[str, str]

    def limits(self, pids_max: int | None, memory_bytes: int | None) -> dict[str, int]:
        """Return what this hierarchy can bound of what is asked for: file name to value."""
        asked = {"pids": pids_max, "memory": memory_bytes}
        return {self.files[name]: value for name, value in asked.items() if value is not None and name in self.files}


@dataclass(slots=True)
class Group:
    """The groups of one command, one in each hierarchy that bounds something for it."""

    folders: list[Path] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Return what the launcher is to join."""
        return [str(folder) for folder in self.folders]

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

    def remove(self) -> None:
        """Give the groups back; one that still holds a process stays, empty of meaning, until the machine restarts."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def probe(name: str, root: Path = _ROOT) -> list[Hierarchy]:
    """Return the hierarchies in which this process can make groups that really take limits; empty where there are none."""
    candidates = [
        Hierarchy(root, _V2_FILES),
        *(Hierarchy(root / controller, {controller: file}) for controller, file in _V1_FILES.items()),
    ]
    found: list[Hierarchy] = []
    held: set[str] = set()
    for candidate in candidates:
        wanted = {controller: file for controller, file in candidate.files.items() if controller not in held}
        usable = _usable(candidate.folder, wanted, name)
        if usable:
            found.append(Hierarchy(candidate.folder, usable))
            held |= set(usable)
    return found


def make(hierarchies: list[Hierarchy], name: str, pids_max: int | None, memory_bytes: int | None) -> Group:
    """Make a command's groups and set their limits; `OSError` when the system refuses, and then nothing remains."""
    group = Group()
    try:
        for hierarchy in hierarchies:
            limits = hierarchy.limits(pids_max, memory_bytes)
            if limits:
                folder = hierarchy.folder / name
                folder.mkdir()
                group.folders.append(folder)
                for file, value in limits.items():
                    (folder / file).write_text(str(value))
    except OSError:
        group.remove()
        raise
    return group


def _usable(folder: Path, files: Mapping[str, str], name: str) -> dict[str, str]:
    """Try a hierarchy: make a group, set limits in it, take it away."""
    if not files or not (folder / "cgroup.procs").exists():
        return {}
    delegation = folder / "cgroup.subtree_control"
    if delegation.exists():
        for controller in files:
            with contextlib.suppress(OSError):  # refused, or delegated already: the try below tells
                delegation.write_text(f"+{controller}")
    trial = folder / f"{name}-probe-{os.getpid()}"
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
