"""Makes the place in which a confined command finds itself: its root, its folders, nothing else of the host. By mounts.

Linux, standard library only. The stage does this in mount and PID namespaces of its own, in which it may mount.
"""

from __future__ import annotations

import ctypes
import os
import struct

from pytest_execgo.core.containment.system_calls import (
    MOUNT_SETATTR,
    MOVE_MOUNT,
    NEW_USER,
    OPEN_TREE,
    mount,
    pivot_root,
    system_call,
    unmount,
    unshare,
)
from pytest_execgo.core.containment.work_copy import copy, give

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from pytest_execgo.core.containment.orders import Orders, Place, View

STAGE = "/.stage"
"""Where the stage's own things are, as long as it needs them."""
OUTSIDE = f"{STAGE}/outside"
"""Where the host's root is meanwhile, when the stage makes the root itself."""
DEVICES = ("null", "zero", "full", "random", "urandom")
DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

_READ_ONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _RECURSIVELY, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 0x1, 0x2, 0x4, 0x100000
_CLONE, _RECURSIVE, _EMPTY_PATH, _FROM_EMPTY_PATH = 1, 0x8000, 0x1000, 4
_HERE = -100  # AT_FDCWD
_IDS = 2**32 - 1
_LEAST_FILES, _BYTES_A_FILE = 1024, 4096  # a file without content takes memory, too
_BASE = "/tmp"  # noqa: S108 - a folder that every system has; what is mounted on it is soon the root


def build_root(views: list[View]) -> None:
    """Make an empty root with what is to be seen of the host, and leave the host's root in `OUTSIDE`."""
    mount(None, "/", None, _RECURSIVELY | _PRIVATE)
    mount("tmpfs", _BASE, "tmpfs", _NOSUID | _NODEV, "mode=755")
    os.mkdir(_BASE + STAGE)  # noqa: PTH102 - pathlib would double the start-up
    mount("tmpfs", _BASE + STAGE, "tmpfs", _NOSUID | _NODEV, "mode=700")
    os.mkdir(_BASE + OUTSIDE)  # noqa: PTH102
    os.chdir(_BASE)
    pivot_root(".", f".{OUTSIDE}")
    os.chdir("/")
    for view in views:
        if view["link"] is not None:
            os.symlink(view["link"], view["path"])  # noqa: PTH211
        else:
            _attach(OUTSIDE + view["source"], view["path"], _ATTR_READ_ONLY | _ATTR_NOSUID | _ATTR_NODEV)
    os.mkdir("/proc")  # noqa: PTH102
    mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    os.mkdir("/dev")  # noqa: PTH102
    mount("tmpfs", "/dev", "tmpfs", _NOSUID, "mode=755")
    for name in DEVICES:
        _attach(f"{OUTSIDE}/dev/{name}", f"/dev/{name}", _ATTR_NOSUID)
    for name, leads_to in DEVICE_LINKS.items():
        os.symlink(leads_to, f"/dev/{name}")  # noqa: PTH211


def furnish(orders: Orders) -> None:
    """Give the command its folders and files, then take away what only the stage needed, and make the root unchangeable.

    `OSError` for whatever the system refuses.
    """
    disk = f"{STAGE}/disk"
    os.mkdir(disk)  # noqa: PTH102
    size = orders["disk_bytes"]
    files = max(_LEAST_FILES, size // _BYTES_A_FILE)
    mount("tmpfs", disk, "tmpfs", _NOSUID | _NODEV, f"mode=711,size={size},nr_inodes={files}")
    places = {"tmp": "/tmp", "shm": "/dev/shm"}  # noqa: S108
    if orders["files"] is not None:
        places["work"] = orders["cwd"]
        copy(orders["files"], f"{disk}/work")
    for name, target in places.items():
        os.makedirs(f"{disk}/{name}", 0o700, exist_ok=True)  # noqa: PTH103
        give(f"{disk}/{name}", orders["uid"])
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
        mount(f"{disk}/{name}", target, None, _BIND)
    for place in orders["folders"]:
        _lay(place, orders["uid"])
    for path, text in orders["texts"].items():
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "x") as file:  # noqa: PTH123
            file.write(text)
    unmount(STAGE)  # with all that is below it
    os.rmdir(STAGE)  # noqa: PTH106
    mount(None, "/dev", None, _REMOUNT | _BIND | _READ_ONLY | _NOSUID)
    mount(None, "/", None, _REMOUNT | _BIND | _READ_ONLY | _NOSUID | _NODEV)


def _attach(source: str, target: str, attributes: int) -> None:
    """Show a file or a folder of the host, and what is mounted below it, at `target`."""
    _put(_clone(source, attributes), source, target)


def _lay(place: Place, uid: int | None) -> None:
    """Show a folder of the caller's. To the user that the command becomes, what is its owner's belongs to it."""
    attributes = _ATTR_NOSUID | _ATTR_NODEV | (0 if place["writable"] else _ATTR_READ_ONLY)
    tree = _clone(place["source"], attributes)
    if uid is not None:
        try:
            _map_owner(tree, place["source"], uid)
        except OSError:  # not every file system can; whether the user may work there is proved later
            pass
    _put(tree, place["source"], place["target"])


def _clone(source: str, attributes: int) -> int:
    tree = system_call(f"open_tree {source}", OPEN_TREE, _HERE, source, _CLONE | _RECURSIVE | os.O_CLOEXEC)
    _set(tree, attributes)
    return tree


def _set(tree: int, attributes: int, user_namespace: int = 0) -> None:
    given = struct.pack("=QQQQ", attributes, 0, 0, user_namespace)
    system_call("mount_setattr", MOUNT_SETATTR, tree, "", _EMPTY_PATH | _RECURSIVE, ctypes.c_char_p(given), len(given))


def _put(tree: int, source: str, target: str) -> None:
    if os.path.isdir(source):  # noqa: PTH112
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    system_call(f"move_mount {target}", MOVE_MOUNT, tree, "", _HERE, target, _FROM_EMPTY_PATH)
    os.close(tree)


def _map_owner(tree: int, source: str, uid: int) -> None:
    """Let a mount show what its folder's owner and group have as a user's, in both directions."""
    info = os.stat(source)  # noqa: PTH116
    namespace = _user_namespace(id_map(info.st_uid, uid), id_map(info.st_gid, uid))
    try:
        _set(tree, _ATTR_IDMAP, namespace)
    finally:
        os.close(namespace)


def id_map(stored: int, shown: int) -> str:
    """Return the lines of a map that shows one stored id as another, and every other as it is, but for `shown` itself."""
    lines = [f"{stored} {shown} 1"]
    low, high = sorted((stored, shown))
    for start, end in ((0, low), (low + 1, high), (high + 1, _IDS)):
        if start < end:
            lines.append(f"{start} {start} {end - start}")
    return "\n".join(lines)


def _user_namespace(uids: str, gids: str) -> int:
    """Make a user namespace with these maps and return a descriptor of it."""
    read, write = os.pipe()
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            unshare(NEW_USER)
            os.close(go)
            os.write(write, b"1")
            os.read(ready, 1)
        finally:
            os._exit(0)
    os.close(write)
    os.close(ready)
    try:
        if not os.read(read, 1):
            raise OSError(1, "no user namespace can be made")
        for name, text in (("uid_map", uids), ("gid_map", gids)):
            with open(f"/proc/{pid}/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(read)
        os.close(go)
        os.waitpid(pid, 0)
