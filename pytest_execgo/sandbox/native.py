"""Commands confined on this machine, without containers: by `bubblewrap`, by namespaces of our own making, or by Landlock.

Which of them can be had is found out by doing it: each time the command's process proves what it can't do before it begins, and a
rung that can't keep a promise refuses, so that the next one is tried. There is no rung below Landlock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_execgo.core.containment import control_groups, syscall_filter
from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.core.containment.sweep import descendants
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, SandboxMode
from pytest_execgo.sandbox import rungs as ladder
from pytest_execgo.sandbox.disk_watch import DiskWatch
from pytest_execgo.sandbox.limit_words import Limit, limit_in_words
from pytest_execgo.sandbox.private_folder import private_folder
from pytest_execgo.sandbox.supervision import LaunchFailed, NotPossible, StageEnd, Supervision

if TYPE_CHECKING:
    import socket

RUNGS = (Rung.BUBBLEWRAP, Rung.NAMESPACE, Rung.LANDLOCK)
_CONTROLLERS = ("pids", "memory", "cpu")
_FIRST_USER, _USERS = 1_879_100_000, 65_536  # numbers that no system gives to anybody
_NAME = "execgo-sandbox"
_GROUP_REMOVAL = 1.0
_REMEDY = "install bubblewrap, or let users make namespaces (docs/sandbox.md says how), or use mode docker"


class NativeConfinement:
    """Mode `native`: commands of this machine, in namespaces or under Landlock. It has to be enabled.

    `rungs` are tried in their order. `groups=False` does without control groups, where they can be had: then limits of each process
    bound memory. The object may be used by any number of threads.
    """

    mode: SandboxMode = "native"

    def __init__(self, *, enabled: bool = False, rungs: Sequence[Rung] = RUNGS, groups: bool = True) -> None:
        self._enabled = enabled
        self._rungs = tuple(Rung(rung) for rung in rungs)
        if Rung.PLAIN in self._rungs:
            raise SandboxError("no_isolation", "mode native runs nothing without isolation", f"choose from {', '.join(RUNGS)}")
        self._groups_wanted = groups
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        self._hierarchies: list[control_groups.Hierarchy] | None = None
        self._trial: tuple[str | None] | None = None
        self._isolation: dict[str, Any] = {}

    @property
    def isolation(self) -> dict[str, Any]:
        """What the last command ran in: `rung`, `user`, by what each bound holds, why other rungs were passed over; {} before."""
        return dict(self._isolation)

    def problem(self) -> str | None:
        """Say why commands can't be confined here, and what to do about it; None when one was. Tried once."""
        with self._lock:
            if self._trial is None:
                self._trial = (self._try(),)
            return self._trial[0]

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        """Run one command to its end; nothing of it is left on return.

        `SandboxError`: not enabled; it can't be confined here (the message lists each rung's reason); or, with the code
        `sandbox_launch_failed`, its program can't be started.
        """
        self._refuse_unless_enabled()
        ladder.check(command)
        reasons: dict[str, str] = {}
        for rung in self._rungs:
            try:
                return self._run_on(rung, command, reasons)
            except NotPossible as why:
                reasons[str(rung)] = str(why)
            except LaunchFailed as why:
                number, text = why.args
                program = command.argv[0]
                error = SandboxError("sandbox_launch_failed", f"{program} could not be started: {text}", "it must be seen inside")
                error.add_note(f"errno {number}")
                raise error from None
        said = "; ".join(f"{rung}: {why}" for rung, why in reasons.items())
        raise SandboxError("sandbox_unavailable", f"the command can't be confined in mode native: {said}", _REMEDY)

    def cleanup(self) -> None:
        """Remove the control groups of processes that were killed; a run removes its own."""
        _remove_abandoned(self._found_hierarchies())

    def _refuse_unless_enabled(self) -> None:
        if not self._enabled:
            message = "mode native runs code on this machine itself, and has to be enabled"
            raise SandboxError("native_not_enabled", message, "NativeConfinement(enabled=True), or use mode docker")
        if not syscall_filter.known_machine():
            system = f"{os.uname().sysname} on {os.uname().machine}"
            raise SandboxError(
                "sandbox_unavailable", f"mode native needs Linux on x86_64 or aarch64, not {system}", "use mode docker"
            )

    def _try(self) -> str | None:
        with tempfile.TemporaryDirectory() as work:
            try:
                end = self.run(_nothing(Path(work)))
            except SandboxError as error:
                return f"{error.message} ({error.hint})"
        return None if end.exit_code == 0 else f"a command that does nothing ended with {end.exit_code} in mode native"

    def _run_on(self, rung: Rung, command: ConfinedCommand, passed_over: dict[str, str]) -> ConfinedEnd:
        uid = _own_user(Path("/proc/self/uid_map").read_text()) if os.geteuid() == 0 else None
        hierarchies = self._found_hierarchies()
        controllers = {name for hierarchy in hierarchies for name in hierarchy.files}
        with contextlib.ExitStack() as stack:
            group = stack.enter_context(self._group(hierarchies, command))
            scratch = stack.enter_context(private_folder()) if rung is Rung.LANDLOCK else None
            start = ladder.prepare(rung, command, uid, controllers, scratch)
            if start.orders["network"] == "proxy":
                serve = _with_proxy(start, command, stack)
            else:
                serve = _no_listener
            supervision = Supervision(
                start.words, start.orders, stdin=command.stdin, output_bytes=command.output_bytes, on_listener=serve
            )
            stack.callback(supervision.close)
            supervision.confine(group.join)
            self._isolation = _described(rung, start, controllers, passed_over)
            watch = None
            if start.watched:
                watch = DiskWatch(start.watched, start.room, lambda: descendants(supervision.stage))
            return _end(supervision.run(command.timeout, watch), command, group)

    def _found_hierarchies(self) -> list[control_groups.Hierarchy]:
        if not self._groups_wanted:
            return []
        with self._probing:
            if self._hierarchies is None:
                self._hierarchies = control_groups.probe(_NAME, controllers=_CONTROLLERS)
                _remove_abandoned(self._hierarchies)
            return self._hierarchies

    @contextlib.contextmanager
    def _group(self, hierarchies: list[control_groups.Hierarchy], command: ConfinedCommand) -> Iterator[control_groups.Group]:
        # a number of its own: a dead process, or one in another namespace of pids, may have had this pid
        name = f"{_NAME}-{os.getpid()}-{_pid_namespace()}-{os.urandom(8).hex()}"
        try:
            group = control_groups.make(hierarchies, name, command.processes, command.memory_bytes, command.cpu_cores)
        except OSError as error:
            raise NotPossible(f"no control group: {error}") from error
        try:
            yield group
        finally:
            group.remove(_GROUP_REMOVAL)


def _own_user(uid_map: str) -> int | None:
    """Return a user whom root's command is to become, one of its own; None where root is the only one that there is.

    `uid_map` are this process's numbers (/proc/self/uid_map): in a container they may be few.
    """
    extents = [(int(inside), int(count)) for inside, _, count in map(str.split, uid_map.splitlines())]
    if any(inside <= _FIRST_USER and _FIRST_USER + _USERS <= inside + count for inside, count in extents):
        return _FIRST_USER + int.from_bytes(os.urandom(2)) % _USERS
    return max(inside + count - 1 for inside, count in extents) or None


def _remove_abandoned(hierarchies: list[control_groups.Hierarchy]) -> None:
    """Remove the groups of processes that were killed, and what is left in them where the owner's pid means what it means here."""
    for hierarchy in hierarchies:
        for folder in hierarchy.folder.glob(f"{_NAME}-*-*"):
            owner, namespace = folder.name.removeprefix(f"{_NAME}-").split("-")[:2]
            if not Path(f"/proc/{owner}").exists():
                control_groups.Group([folder]).remove(_GROUP_REMOVAL if namespace == _pid_namespace() else 0.0)


def _pid_namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 - once for every command


def _nothing(work: Path) -> ConfinedCommand:
    return ConfinedCommand(
        argv=("true",),
        cwd="/work",
        timeout=30.0,
        memory_bytes=1 << 28,
        cpu_cores=1.0,
        disk_bytes=1 << 20,
        processes=16,
        output_bytes=4096,
        work=work,
    )


def _described(rung: Rung, start: ladder.Start, controllers: set[str], passed_over: dict[str, str]) -> dict[str, Any]:
    orders, cores = start.orders, start.orders["processors"]
    held = "control group"
    sized = "a file system of that size" if rung is not Rung.LANDLOCK else ""
    pinned = f"{cores} whole core{'s' if cores != 1 else ''}, and an rlimit for each process"
    return {
        "rung": str(rung),
        "user": orders["uid"] if orders["uid"] is not None else os.getuid(),
        "processes": held if "pids" in controllers else "rlimit",
        "memory": held if "memory" in controllers else "rlimit, each process",
        "cpu": held if "cpu" in controllers else pinned,
        "disk": " and ".join(filter(None, (sized, "a watch" if start.watched else ""))),
        "network": {"none": "none", "proxy": "the allowed hosts, by a proxy", "any": "any"}[orders["network"]],
        "passed_over": dict(passed_over),
    }


def _no_listener(listener: socket.socket) -> None:
    listener.close()


def _with_proxy(start: ladder.Start, command: ConfinedCommand, stack: contextlib.ExitStack) -> Callable[[socket.socket], None]:
    """Have a proxy for the command, and its variables among the command's; return what takes its listener."""
    from pytest_execgo.sandbox.egress import EgressProxy, proxy_environment

    proxy = stack.enter_context(EgressProxy(command.hosts or ()))
    start.orders["env"].update(proxy_environment(ladder.PROXY_PORT))
    return proxy.serve


def _end(end: StageEnd, command: ConfinedCommand, group: control_groups.Group) -> ConfinedEnd:
    peak = group.peak_memory()
    return ConfinedEnd(
        exit_code=end.exit_code,
        stdout=end.stdout,
        stderr=end.stderr,
        duration=end.duration,
        truncated=end.truncated,
        limit=end.cut or (_limit(end, group.hits()) if end.exit_code else None),
        memory_used_bytes=end.peak_bytes if peak is None else peak,
    )


def _limit(end: StageEnd, hits: dict[str, str]) -> Limit | None:
    """Tell which bound made a command fail: by what the system counted, by the signal, else by its own words."""
    if "memory_bytes" in hits:
        return "memory"
    if end.exit_code == -signal.SIGXCPU:
        return "timeout"
    told = limit_in_words(end.stderr)
    if end.exit_code == -signal.SIGXFSZ or told == "disk":
        return "disk"
    return "processes" if "pids_max" in hits else told
