"""Who a process is: for good, where a pid alone may be somebody else's later."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class ProcessIdentity(BaseModel):
    """One process for good: a pid alone may be somebody else's later, or after a reboot.

    `started` is in clock ticks since boot, field 22 of /proc/PID/stat (man 5 proc); "" where there is no /proc.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Identify the process that has this pid now; `ProcessLookupError` if none has."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, started=started, boot_id=_boot_id())

    def alive(self) -> bool:
        """Tell whether that very process still runs; a zombie doesn't."""
        return self.boot_id == _boot_id() and _started(self.pid) == self.started

    def end(self, signum: signal.Signals | None, timeout: float) -> bool:
        """Signal exactly that process (None: only wait for it), and return whether it is gone within `timeout` seconds."""
        if not hasattr(os, "pidfd_open"):
            return self._end_by_pid(signum, timeout)
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():  # the pid is somebody else's by now
                return True
            if signum is not None:
                signal.pidfd_send_signal(handle, signum)
            poll = select.poll()  # select() can't take descriptors above 1023
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(timeout * 1000))
        finally:
            os.close(handle)

    def _end_by_pid(self, signum: signal.Signals | None, timeout: float) -> bool:
        """Do the same where no handle on a process can be had (no Linux) and nobody tells when it ends."""
        deadline = time.monotonic() + timeout
        if signum is not None and self.alive():
            os.kill(self.pid, signum)
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive()


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _started(pid: int) -> str | None:
    """Return when the process began, or None if there is none or only a zombie."""
    if not Path("/proc/self/stat").exists():
        return "" if _signalable(pid) else None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may hold anything; fields[0] is field 3
    return None if fields[0] in "ZX" else fields[19]


def _signalable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    return True
