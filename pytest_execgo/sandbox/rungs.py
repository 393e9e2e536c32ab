"""How each rung of the ladder is started, and what a stage on it is told. Standard library only."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_execgo.core.containment import syscall_filter
from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.core.containment.room import DEVICE_LINKS, OUTSIDE, STAGE
from pytest_execgo.core.containment.work_copy import copy, give
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand, Mount
from pytest_execgo.sandbox import host_view
from pytest_execgo.sandbox.supervision import NotPossible

if TYPE_CHECKING:
    from pytest_execgo.core.containment.orders import Orders, Place, View

PROXY_PORT = 3128
"""Where the egress proxy listens inside; the network there is the command's own, so it is always free."""
_PACKAGES = Path(__file__).resolve().parents[2]
_CODE = f"{STAGE}/code"
_BOOT = """import sys
package = type(sys)("pytest_execgo")
package.__path__ = [sys.argv[1] + "/pytest_execgo"]
sys.modules["pytest_execgo"] = package
from pytest_execgo.core.containment.stage import main
main(int(sys.argv[2]))
"""
"""What the stage's interpreter begins with: our package without what its own first module imports, which takes time."""
_TAKEN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/etc", "/proc", "/dev", "/sys", STAGE)
_OPEN_FILES = 4096


@dataclass(frozen=True, slots=True)
class Start:
    """A stage's command line, but for the channel's number, and its orders.

    `watched` are the folders that no size bounds, `room` the bytes that may be added to what they hold.
    """

    words: list[str]
    orders: Orders
    watched: tuple[Path, ...]
    room: int


def check(command: ConfinedCommand) -> None:
    """Raise a `SandboxError` for folders that can't be shown where they are asked for."""
    if not command.argv or not command.cwd.startswith("/"):
        raise SandboxError("bad_command", "a command needs a program, and an absolute working folder")
    taken = [PurePosixPath(path) for path in (*_TAKEN, str(host_view.python_home()))]
    targets: list[PurePosixPath] = [PurePosixPath(command.cwd)] if command.work is not None else []
    for mount in command.mounts:
        target = PurePosixPath(mount.target)
        if not mount.source.is_dir():
            raise SandboxError("no_such_folder", f"the folder {mount.source}, to be mounted at {target}, does not exist")
        if not target.is_absolute() or ".." in target.parts or target == PurePosixPath("/tmp"):  # noqa: S108
            raise SandboxError("bad_mount", f"nothing can be mounted at {mount.target}", "name an absolute folder below / or /tmp")
        targets.append(target)
    for place, target in enumerate(targets):
        if len(target.parts) < 2 or any(target.is_relative_to(path) for path in taken):
            raise SandboxError(
                "bad_mount", f"{target} is the sandbox's own", f"choose a folder outside of {', '.join(_TAKEN[:-1])}"
            )
        for other in targets[:place]:
            if target.is_relative_to(other) or other.is_relative_to(target):
                raise SandboxError("bad_mount", f"the folders {other} and {target} overlap", "choose folders side by side")
    if command.work is None and not any(PurePosixPath(command.cwd).is_relative_to(target) for target in targets):
        raise SandboxError("no_working_folder", f"the working folder {command.cwd} is in no folder that is mounted")


def prepare(rung: Rung, command: ConfinedCommand, uid: int | None, groups: Set[str], scratch: Path | None) -> Start:
    """Return how to start a command's stage on a rung. `NotPossible` where the rung can't keep what the command asks for.

    `uid` is whom the command becomes; `groups` are the controllers that bound it by control groups; `scratch` is a folder for
    what a rung without mounts has to put somewhere.
    """
    network = "none" if command.hosts is None else "proxy" if command.hosts else "any"
    seen = host_view.views(names_of_hosts=network == "any")
    orders = _Orders(rung, command, uid, groups, network, seen)
    if rung is Rung.LANDLOCK:
        assert scratch is not None
        return _landlock(orders, scratch)
    writable = tuple(mount.source for mount in command.mounts if mount.writable)
    words, made = (_bubblewrap if rung is Rung.BUBBLEWRAP else _namespace)(orders)
    return Start(words, made, writable, command.disk_bytes)


@dataclass(frozen=True, slots=True)
class _Orders:
    """What the rungs have in common."""

    rung: Rung
    command: ConfinedCommand
    uid: int | None
    groups: Set[str]
    network: str
    views: list[View]

    def make(self, cwd: str, env: dict[str, str], files: str | None, folders: list[Place]) -> Orders:
        command = self.command
        return {
            "rung": str(self.rung),
            "argv": list(command.argv),
            "env": env,
            "cwd": cwd,
            "uid": self.uid,
            "views": self.views,
            "files": files,
            "folders": folders,
            "disk_bytes": command.disk_bytes,
            "network": self.network,
            "port": PROXY_PORT,
            "limits": self._limits(),
            "processors": None if "cpu" in self.groups else math.ceil(command.cpu_cores),
            "denied": self._denied(),
            "texts": host_view.texts(self.uid or os.getuid(), names_of_hosts=self.network == "any"),
            "readable": [],
            "writable": [],
        }

    def environment(self) -> dict[str, str]:
        return {"PATH": host_view.search_path(), **self.command.env}

    def _limits(self) -> dict[str, int]:
        command = self.command
        limits = {"CORE": 0, "FSIZE": command.disk_bytes, "NOFILE": _OPEN_FILES}
        if "pids" not in self.groups:
            # a user of its own, or one in a namespace, where the stage counts, too; else all the caller's processes do
            others = 0 if self.uid is not None else 1 if self.rung is not Rung.LANDLOCK else _processes_of_caller()
            limits["NPROC"] = command.processes + others
        if "memory" not in self.groups:
            limits["AS"] = command.memory_bytes
        if "cpu" not in self.groups:
            limits["CPU"] = math.ceil(command.timeout * command.cpu_cores)
        return limits

    def _denied(self) -> list[str]:
        denied = list(syscall_filter.ALWAYS)
        if "memory" not in self.groups:
            denied += syscall_filter.UNCOUNTED_MEMORY
        if "cpu" not in self.groups:
            denied += syscall_filter.CHOICE_OF_PROCESSORS
        if self.rung is Rung.LANDLOCK:
            denied += [*syscall_filter.OTHERS_OF_THE_USER, *syscall_filter.WHAT_LANDLOCK_LEAVES]
        return denied


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotPossible(f"{name} is not installed")
    return found


def _stage(packages: str) -> list[str]:
    return [host_view.python(), "-I", "-S", "-c", _BOOT, packages]


def _place(source: str, mount: Mount) -> Place:
    return {"source": source, "target": mount.target, "writable": mount.writable}


def _bubblewrap(orders: _Orders) -> tuple[list[str], Orders]:
    command = orders.command
    words = [_program("bwrap"), "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--cap-add", "ALL"]
    words += ["--unshare-net"] if orders.network != "any" else []
    words += ["--unshare-user"] if orders.uid is None else []
    for parent in sorted({parent for view in orders.views for parent in PurePosixPath(view["path"]).parents[:-1]}):
        words += ["--perms", "0755", "--dir", str(parent)]  # else they would be root's alone
    for view in orders.views:
        path, link = view["path"], view["link"]
        words += ["--ro-bind", view["source"], path] if link is None else ["--symlink", link, path]
    words += ["--proc", "/proc", "--tmpfs", "/dev"]  # bwrap's own /dev has terminals, and costs the right to mount
    for device in host_view.DEVICES:
        words += ["--dev-bind", device, device]
    for name, leads_to in DEVICE_LINKS.items():
        words += ["--symlink", leads_to, f"/dev/{name}"]
    words += ["--perms", "0700", "--tmpfs", STAGE]
    words += ["--ro-bind", f"{_PACKAGES}/pytest_execgo", f"{_CODE}/pytest_execgo"]
    folders = []
    for number, mount in enumerate(command.mounts):
        at = f"{STAGE}/folders/{number}"
        words += ["--bind", str(mount.source.resolve()), at]
        folders.append(_place(at, mount))
    files = None
    if command.work is not None:
        files = f"{STAGE}/files"
        words += ["--ro-bind", str(command.work.resolve()), files]
    words += ["--chdir", "/", "--", *_stage(_CODE)]
    return words, orders.make(command.cwd, orders.environment(), files, folders)


def _namespace(orders: _Orders) -> tuple[list[str], Orders]:
    command = orders.command
    folders = [_place(f"{OUTSIDE}{mount.source.resolve()}", mount) for mount in command.mounts]
    files = None if command.work is None else f"{OUTSIDE}{command.work.resolve()}"
    return _stage(str(_PACKAGES)), orders.make(command.cwd, orders.environment(), files, folders)


def _landlock(orders: _Orders, scratch: Path) -> Start:
    """Landlock shows folders where they are, so the working folder and /tmp are elsewhere than asked for."""
    command = orders.command
    if orders.network == "proxy":
        raise NotPossible("only some hosts can be allowed where the network is the command's own")
    for mount in command.mounts:
        if str(mount.source.resolve()) != mount.target:
            raise NotPossible(f"{mount.source} can only be mounted where it is, not at {mount.target}")
    elsewhere, room = _lay_down(orders, scratch)
    env = {name: _moved(value, elsewhere) for name, value in {"TMPDIR": "/tmp", **orders.environment()}.items()}  # noqa: S108
    folders = [_place(mount.target, mount) for mount in command.mounts]
    made = orders.make(elsewhere.get(command.cwd, command.cwd), env, None, folders)
    made["readable"] = host_view.readable(orders.views) + [mount.target for mount in command.mounts if not mount.writable]
    made["writable"] = [*elsewhere.values(), *(mount.target for mount in command.mounts if mount.writable), *host_view.DEVICES]
    watched = [Path(path) for path in elsewhere.values()] + [mount.source for mount in command.mounts if mount.writable]
    return Start(_stage(str(_PACKAGES)), made, tuple(watched), room)


def _lay_down(orders: _Orders, scratch: Path) -> tuple[dict[str, str], int]:
    """Make the folders that a command has without mounts; return where each is, and the bytes that it may still write."""
    command = orders.command
    elsewhere, held = {"/tmp": str(scratch / "tmp")}, 0  # noqa: S108
    try:
        scratch.chmod(0o711)
        (scratch / "tmp").mkdir(0o700)
        if command.work is not None:
            elsewhere[command.cwd] = str(scratch / "work")
            held = copy(str(command.work), elsewhere[command.cwd])
        for folder in elsewhere.values():
            give(folder, orders.uid)
    except OSError as error:
        raise NotPossible(str(error.args[-1])) from error
    if held > command.disk_bytes:
        raise NotPossible(f"its files have {held} bytes, of which {command.disk_bytes} are allowed")
    return elsewhere, command.disk_bytes - held


def _moved(value: str, elsewhere: Mapping[str, str]) -> str:
    """Return a variable's value with the path that it begins with as it is on the host."""
    for path, real in elsewhere.items():
        if value == path or value.startswith(f"{path}/"):
            return real + value[len(path) :]
    return value


def _processes_of_caller() -> int:
    """Count the processes and threads of this user, which the limit counts all together."""
    count, uid = 0, os.getuid()
    for entry in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208
        try:
            if os.stat(f"/proc/{entry}").st_uid == uid:  # noqa: PTH116
                count += len(os.listdir(f"/proc/{entry}/task"))  # noqa: PTH208
        except OSError:  # it ended meanwhile
            continue
    return count
