"""The parent of one stack's services: spawns, signals and reaps them, and ends all of them when its owner ends.

Runs as a script of its own (`python -I -S supervisor.py CONTROL_FD OWNER_PID`), standard library only, so that it is
up in some 15 ms. `CONTROL_FD` is one end of a socket pair that carries JSON lines.

Requests: `{"op": "spawn", "name", "argv", "env", "cwd", "log"}` (an argument `{ready_fd}` is replaced by the number
of a pipe on which the service may announce itself) and `{"op": "signal", "name", "signal"}`.

Events: `spawned` (name, pid), `failed` (name, error), `ready` (name, pid, info), `stopped` and `continued` (name, pid),
`exited` (name, pid, code: negative for a signal).

When the channel ends or the owner's process does, in whatever way, every descendant gets SIGKILL, those that left
their session or were orphaned too: as a subreaper this process inherits them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_READY_MAX = 64 * 1024
READY_FD = "{ready_fd}"


def _prctl(option: int, value: int) -> None:
    """Set an attribute of this process; where there is no prctl (no Linux) the process does without."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _prepare_service() -> None:
    """Run in the child before its program: it is to die with the supervisor, should that be killed."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """List the pids below `root`, parents first; empty where /proc is missing or shows another PID namespace."""
    children: dict[int, list[int]] = {}
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - pathlib would cost a third of the start
            return []
        entries = os.listdir("/proc")  # noqa: PTH208
    except OSError:
        return []
    for entry in filter(str.isdigit, entries):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:  # it ended meanwhile
            continue
        parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
        children.setdefault(parent, []).append(int(entry))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree[1:]


class Supervisor:
    """One selector loop over the control channel, the owner's life, SIGCHLD and the services' ready pipes."""

    def __init__(self, control: socket.socket, owner: int) -> None:
        self.control = control
        self.owner = owner
        self.selector = selectors.DefaultSelector()
        self.buffer = b""
        self.services: dict[str, subprocess.Popen[bytes]] = {}
        self.pipes: dict[int, tuple[str, int, bytes]] = {}
        self.over = False

    def run(self) -> None:
        """Serve the owner until it is gone, then end every descendant."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._listen_to_signals()
        self.selector.register(self.control, selectors.EVENT_READ, self._read_requests)
        self._watch_owner()
        while not self.over:
            for key, _ in self.selector.select():
                key.data(key.fd)
        self.end_all()

    def _listen_to_signals(self) -> None:
        wake, notify = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(notify, False)
        signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
        # handlers, not SIG_IGN: a program that is started would inherit that, as it would what is blocked; the owner may
        # have done either
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        self.selector.register(wake, selectors.EVENT_READ, self._on_signal)

    def _watch_owner(self) -> None:
        """Watch the owner itself too: a forked child of it may hold the channel open after it was killed."""
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # no such system call, or the owner is gone: see below
                self.selector.register(os.pidfd_open(self.owner), selectors.EVENT_READ, self._finish)
        self.over = os.getppid() != self.owner

    def _finish(self, _fd: int) -> None:
        self.over = True

    def _on_signal(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if signal.SIGTERM in os.read(fd, 4096):
                self.over = True
        self._reap()

    def _read_requests(self, _fd: int) -> None:
        try:
            data = self.control.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.over = True
            return
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if request["op"] == "spawn":
                self._spawn(request)
            else:
                self._signal(request["name"], request["signal"])

    def _emit(self, event: str, name: str, **fields: Any) -> None:
        try:
            self.control.sendall(json.dumps({"event": event, "name": name, **fields}).encode() + b"\n")
        except ConnectionError:
            self.over = True

    def _spawn(self, request: dict[str, Any]) -> None:
        name = request["name"]
        if name in self.services:
            self._emit("failed", name, error="it is running already")
            return
        read_end, write_end = os.pipe()
        try:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                service = subprocess.Popen(
                    [argument.replace(READY_FD, str(write_end)) for argument in request["argv"]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=request["cwd"],
                    env=request["env"],
                    pass_fds=[write_end],
                    start_new_session=True,
                    preexec_fn=_prepare_service,  # safe here: this process has one thread
                )
            finally:
                os.close(log)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(read_end)
            self._emit("failed", name, error=str(error))
            return
        finally:
            os.close(write_end)
        self.services[name] = service
        self.pipes[read_end] = (name, service.pid, b"")
        self.selector.register(read_end, selectors.EVENT_READ, self._read_ready)
        self._emit("spawned", name, pid=service.pid)

    def _signal(self, name: str, signum: int) -> None:
        # who is in the table was not reaped yet, so its pid can't belong to anybody else
        if name in self.services:
            os.kill(self.services[name].pid, signum)

    def _read_ready(self, fd: int) -> None:
        name, pid, text = self.pipes[fd]
        data = os.read(fd, 4096)
        text += data
        if data and b"\n" not in text and len(text) < _READY_MAX:
            self.pipes[fd] = (name, pid, text)
            return
        self.selector.unregister(fd)
        os.close(fd)
        del self.pipes[fd]
        if text:
            try:
                info = json.loads(text.partition(b"\n")[0])
            except ValueError:
                info = text.decode("utf-8", "replace")
            self._emit("ready", name, pid=pid, info=info)

    def _reap(self) -> None:
        """Collect every child that ended, stopped or went on; orphans that came here are collected silently."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = next((name for name, service in self.services.items() if service.pid == pid), None)
            if name is None:
                continue
            if os.WIFSTOPPED(status):
                self._emit("stopped", name, pid=pid)
            elif os.WIFCONTINUED(status):
                self._emit("continued", name, pid=pid)
            else:
                code = os.waitstatus_to_exitcode(status)
                self.services.pop(name).returncode = code  # so that Popen doesn't wait for this pid again
                self._emit("exited", name, pid=pid, code=code)

    def end_all(self) -> None:
        """SIGKILL every descendant until none is left; being told of each death, never polling.

        Services are stopped first: none of them is to see another's death, and to record it as a result.
        """
        while True:
            for signum in (signal.SIGSTOP, signal.SIGKILL):
                for service in self.services.values():  # all there is to go by without /proc
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(service.pid, signum)
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            try:
                pid, _ = os.waitpid(-1, 0)
                while pid:
                    self._forget(pid)
                    pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return

    def _forget(self, pid: int) -> None:
        for name, service in list(self.services.items()):
            if service.pid == pid:
                self.services.pop(name).returncode = 0


def main() -> None:
    """Supervise for the process that started this one."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Supervisor(control, int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
