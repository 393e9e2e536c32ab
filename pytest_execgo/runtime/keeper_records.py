"""What the keeper writes of each command, and reads back: standard library only, the keeper runs without site-packages.

One folder holds, for a command with the handle H: `H.start`, written before the command is spawned (one line: who, when, on
which boot of the machine, and the mark by which all of its processes are found); and `H.end`, which appears whole, by a rename,
when it has ended: a header line, then the bytes of both streams. Files that the page cache holds survive the death of any
process; what a crash of the machine leaves is told by the boot's id, and never trusted.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_execgo.core.process_tree import Mark, end_tree

_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a command was ended, or could not be followed: what its task's error says."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """Why a command could not be started: an `OSError`'s number, text and file name."""

    errno: int
    text: str
    filename: str


@dataclass(frozen=True, slots=True)
class EndRecord:
    """How a command ended. `exit_code` is None when a signal ended it; times are `time.time_ns()`.

    `reason`: it was ended on demand, or lost. `launch`: it never began. `isolation` is what the spawn said of that, `hit` the
    limits that the system had to enforce, each with its evidence, `survivors` the pids that could not be ended.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    survivors: list[int] = field(default_factory=list)
    reason: Reason | None = None
    launch: LaunchFailure | None = None
    isolation: dict[str, Any] | None = None
    hit: dict[str, str] = field(default_factory=dict)


class CorruptRecord(Exception):
    """A record that can't be what was written; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class StartRecord:
    """A command that was about to be spawned, and perhaps was; `mark` finds what is left of it."""

    handle: str
    boot: str
    began_ns: int
    mark: Mark


def boot_id() -> str:
    """Return the id of this boot of the machine; empty where there is none (no Linux)."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - pathlib costs a third of the keeper's start
            return file.read().strip()
    except OSError:
        return ""


class Records:
    """The keeper's records in one folder. Every method raises `OSError` when the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def intend(self, start: StartRecord) -> None:
        """Note that a command is about to be spawned."""
        line = json.dumps(asdict(start)).encode()
        self._path(start.handle, "start").write_bytes(line + b"\n")

    def end(self, handle: str, record: EndRecord) -> None:
        """Keep how a command ended, whole or not at all."""
        header = asdict(record)
        body = header.pop("stdout") + header.pop("stderr")
        header |= {"stdout_bytes": len(record.stdout), "body_bytes": len(body), "crc": zlib.crc32(body)}
        line = json.dumps(header).encode()
        temporary = self._path(handle, "part")
        with temporary.open("wb") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(line), line))
            file.write(body)
        temporary.replace(self._path(handle, "end"))

    def read_start(self, handle: str) -> StartRecord | None:
        """Return a start record; None when there is none, or when its writer died before it was complete (nothing spawned)."""
        try:
            line, newline, _ = self._path(handle, "start").read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if not newline:  # not even the whole line: the spawn comes after it
            return None
        try:
            known = json.loads(line)
            return StartRecord(known["handle"], known["boot"], known["began_ns"], Mark(**known["mark"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecord(f"{self._path(handle, 'start')}: {error}") from error

    def read_end(self, handle: str) -> EndRecord | None:
        """Return an end record; None when there is none. `CorruptRecord` for one that was changed."""
        path = self._path(handle, "end")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        line, newline, body = data.partition(b"\n")
        try:
            if not newline or line[:9] != b"%08x " % zlib.crc32(line[9:]):
                raise ValueError("the header is damaged")
            header = json.loads(line[9:])
            cut, length, crc = (header.pop(name) for name in ("stdout_bytes", "body_bytes", "crc"))
            if len(body) != length or zlib.crc32(body) != crc:
                raise ValueError("the output is damaged")
            reason, launch = header.pop("reason"), header.pop("launch")
            return EndRecord(
                **header,
                stdout=body[:cut],
                stderr=body[cut:],
                reason=Reason(**reason) if reason else None,
                launch=LaunchFailure(**launch) if launch else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecord(f"{path}: {error}") from error

    def ended(self, handle: str) -> bool:
        """Tell whether there is an end record."""
        return self._path(handle, "end").exists()

    def forget(self, handle: str) -> None:
        """Remove what is kept of a command; its end last, so that a start without an end never remains of it."""
        for kind in ("start", "part", "end"):
            self._path(handle, kind).unlink(missing_ok=True)

    def handles(self) -> list[str]:
        """List every command of which anything is kept."""
        found = {name.rpartition(".")[0] for name in os.listdir(self.folder)}  # noqa: PTH208
        return sorted(handle for handle in found if _HANDLE.match(handle))

    def _path(self, handle: str, kind: str) -> Path:
        if not _HANDLE.match(handle):
            raise ValueError(f"{handle[:80]!r} is no handle")
        return self.folder / f"{handle}.{kind}"

    def settle(self, boot: str) -> list[str]:
        """End what a keeper that is no more has left running, and record it as lost; return those commands' handles."""
        settled = []
        for handle in self.handles():
            if self.ended(handle):
                continue
            try:
                start = self.read_start(handle)
                why = "the keeper of the commands ended while this one ran; what was left of it was ended"
            except CorruptRecord as error:
                start, why = None, f"its start record can't be read ({error}); whether it ran to its end is not known"
            else:
                if start is None:  # nothing was spawned: it may be started anew
                    self.forget(handle)
                    continue
            if start is not None and start.boot == boot:
                survivors = end_tree(start.mark)
                why += f"; {len(survivors)} processes could not be ended" if survivors else ""
            elif start is not None:
                why = "the machine was restarted while this command ran"
            began = start.began_ns if start is not None else 0
            self.end(handle, EndRecord(started_ns=began, finished_ns=time.time_ns(), reason=Reason("internal", why, True)))
            settled.append(handle)
        return settled
