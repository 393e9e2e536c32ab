"""Whom a container's command is: never root, and somebody to whom its mounts are open."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import Mount

NOBODY = 65534


def user_for(mounts: Sequence[Mount], caller: tuple[int, int]) -> tuple[int, int]:
    """Return uid and gid: the caller's (also uid and gid); for root nobody's, or who owns the mounts that are closed to nobody.

    `SandboxError` where a mount is closed to everybody but root, or there are several such owners.
    """
    if caller[0] != 0:
        return caller
    owners = {}
    for mount in mounts:
        about = os.stat(mount.source)  # noqa: PTH116
        if not _open_to_nobody(about, mount.writable):
            owners[about.st_uid, about.st_gid] = mount
    if not owners:
        return NOBODY, NOBODY
    (owner, mount), *others = owners.items()
    if owner[0] != 0 and not others:
        return owner
    need = "o+rwx" if mount.writable else "o+rx"
    message = f"the folder {mount.source} is open to root alone, and mode docker runs nothing as root"
    hint = f"run as an ordinary user who may use the engine, or chmod {need} {mount.source}, or use mode native"
    raise SandboxError("mount_closed", message, hint)


def _open_to_nobody(about: os.stat_result, writable: bool) -> bool:
    needed = stat.S_IROTH | stat.S_IXOTH | (stat.S_IWOTH if writable else 0)
    return about.st_uid == NOBODY or about.st_mode & needed == needed
