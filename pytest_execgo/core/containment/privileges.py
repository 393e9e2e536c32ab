"""What a process gives up for good before it becomes a confined command. Linux, standard library only."""

from __future__ import annotations

import ctypes
import os
import resource

from pytest_execgo.core.containment.system_calls import prctl, system_call

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from collections.abc import Mapping

_CAPBSET_DROP, _CAPBSET_READ = 24, 23
_NO_NEW_PRIVS = 38
_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITIES_VERSION_3 = 0x20080522
_CAPGET = {"x86_64": 125, "aarch64": 90}
_CAPSET = {"x86_64": 126, "aarch64": 91}


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop(uid: int | None) -> None:
    """Become a user, and the group of the same number (None: stay who this is); have no capability, and none to be gained."""
    _empty_bounding_set()
    prctl("no new privileges", _NO_NEW_PRIVS, 1)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    prctl("the ambient set", _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    none = (_Sets * 2)()
    header = _Header(_CAPABILITIES_VERSION_3, 0)
    system_call("capset", _CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref(none))


def _empty_bounding_set() -> None:
    for capability in range(64):
        try:
            if prctl("the bounding set", _CAPBSET_READ, capability) == 1:
                prctl("the bounding set", _CAPBSET_DROP, capability)
        except OSError:  # no such capability, or not ours to drop: then it is not ours to gain either
            return


def has_capabilities() -> bool:
    """Tell whether this process has, or may have, any capability."""
    sets = (_Sets * 2)()
    header = _Header(_CAPABILITIES_VERSION_3, 0)
    system_call("capget", _CAPGET[os.uname().machine], ctypes.byref(header), ctypes.byref(sets))
    return any(part.effective or part.permitted for part in sets)


def limit(limits: Mapping[str, int]) -> None:
    """Set resource limits, `NPROC` for `RLIMIT_NPROC`, never above what holds already."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, ceiling = resource.getrlimit(kind)
        lowered = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(kind, (lowered, lowered))
