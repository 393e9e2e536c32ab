"""Whose a container or network is: labels that name the process it was made for, and whether that still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from pytest_execgo.core.process_identity import ProcessIdentity

OWNER_LABEL = "org.pytest-execgo.owner"
"""On everything that we make; its value names the owner."""
_MACHINE, _NAMESPACE, _BOOT, _PID, _STARTED = (
    f"{OWNER_LABEL}.{part}" for part in ("machine", "pid-namespace", "boot", "pid", "started")
)
_MACHINE_ID = Path("/etc/machine-id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


def owner_labels() -> dict[str, str]:
    """Return the labels of what this process makes."""
    me = ProcessIdentity.of(os.getpid())
    labels = {
        _MACHINE: _machine(),
        _NAMESPACE: _namespace(),
        _BOOT: me.boot_id,
        _PID: str(me.pid),
        _STARTED: me.started,
    }
    digest = hashlib.sha256("\0".join(labels.values()).encode()).hexdigest()
    return {OWNER_LABEL: f"{me.pid}-{digest[:16]}", **labels}


def alive(labels: Mapping[str, str]) -> bool:
    """Tell whether the owner that `labels` name may still live; False only for one that is surely dead.

    An engine may serve several machines, and containers on one machine, each with pids of its own. So a pid is judged only
    where it means something: in this boot and this namespace of pids. What this machine, told by its id and its name,
    ran before it was last booted is dead. Whatever else there is, and what has no labels of ours, is left alone.
    """
    try:
        machine, namespace, boot = labels[_MACHINE], labels[_NAMESPACE], labels[_BOOT]
        owner = ProcessIdentity(pid=int(labels[_PID]), started=labels[_STARTED], boot_id=boot)
    except (KeyError, ValueError):
        return True
    here = ProcessIdentity.of(os.getpid())
    if boot == here.boot_id and (boot or machine == _machine()):
        return namespace != _namespace() or not _ended(owner)
    rebooted_since = bool(boot and here.boot_id and machine) and machine == _machine()
    return not rebooted_since


def _ended(owner: ProcessIdentity) -> bool:
    """Tell whether a process of this namespace has surely ended: /proc may hide those of other users (`hidepid`)."""
    try:
        if owner.alive():
            return False
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, be it the owner or who has its pid now: told apart only where it can be seen
        return os.access(f"/proc/{owner.pid}/stat", os.R_OK)
    return True


def _machine() -> str:
    """Return what tells this machine from others; "" when nothing does: containers and copies may share an id, not a name too."""
    try:
        found = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(f"{found}\0{socket.gethostname()}".encode()).hexdigest()[:16] if found else ""


def _namespace() -> str:
    try:
        return str(_PID_NAMESPACE.readlink())
    except OSError:  # a system without such namespaces
        return ""
