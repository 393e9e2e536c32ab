"""Which system calls a confined command can't make: a filter (seccomp) that the kernel runs on each. Linux, standard library only.

It is the second wall where namespaces are the first, and takes what those leave open: keyrings, which are the caller's; namespaces
within the namespace. Where Landlock is the first wall, it takes the network and what Landlock does not know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from pytest_execgo.core.containment.system_calls import prctl

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from collections.abc import Iterable

_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16  # offsets in seccomp_data; both machines are little endian
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_UNIX = 1
_INTERNET, _OF_A_NAMESPACE = (2, 10), (_UNIX, 16)  # AF_INET, AF_INET6; AF_UNIX, AF_NETLINK
_DATAGRAMS = 2  # the bit of a Unix socket's type that SOCK_DGRAM and SOCK_RAW have, SOCK_STREAM and SOCK_SEQPACKET not
_SET_ID = 0o6000
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
_OPENED = {"open": 1, "openat": 2}  # which argument holds the flags; the mode is the next
_CREATES = 0o20000100  # O_CREAT, O_TMPFILE
_OTHER_ABI = 0x40000000  # x32 on x86-64: the same calls by other numbers
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_COLUMN = {"x86_64": 0, "aarch64": 1}
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    **dict(add_key=(248, 217), request_key=(249, 218), keyctl=(250, 219), bpf=(321, 280), perf_event_open=(298, 241)),
    **dict(userfaultfd=(323, 282), io_uring_setup=(425, 425), io_uring_enter=(426, 426), io_uring_register=(427, 427)),
    **dict(mount=(165, 40), umount2=(166, 39), pivot_root=(155, 41), unshare=(272, 97), setns=(308, 268)),
    **dict(open_tree=(428, 428), move_mount=(429, 429), fsopen=(430, 430), fsconfig=(431, 431), fsmount=(432, 432)),
    **dict(fspick=(433, 433), mount_setattr=(442, 442), clone=(56, 220), clone3=(435, 435), socket=(41, 198)),
    **dict(name_to_handle_at=(303, 264), open_by_handle_at=(304, 265), fanotify_init=(300, 262), inotify_add_watch=(254, 27)),
    **dict(memfd_create=(319, 279), memfd_secret=(447, 447), shmget=(29, 194), shmat=(30, 196), msgget=(68, 186)),
    **dict(semget=(64, 190), mq_open=(240, 180), ptrace=(101, 117), kcmp=(312, 272), pidfd_getfd=(438, 438)),
    **dict(process_vm_readv=(310, 270), process_vm_writev=(311, 271), process_madvise=(440, 440)),
    **dict(migrate_pages=(256, 238), move_pages=(279, 239), prlimit64=(302, 261), setpriority=(141, 140)),
    **dict(sched_setparam=(142, 118), sched_setscheduler=(144, 119), sched_setaffinity=(203, 122), sched_setattr=(314, 274)),
    **dict(ioprio_set=(251, 30), chmod=(90, None), fchmod=(91, 52), fchmodat=(268, 53), fchmodat2=(452, 452)),
    **dict(chown=(92, None), fchown=(93, 55), lchown=(94, None), fchownat=(260, 54), utime=(132, None), utimes=(235, None)),
    **dict(futimesat=(261, None), utimensat=(280, 88), setxattr=(188, 5), lsetxattr=(189, 6), fsetxattr=(190, 7)),
    **dict(removexattr=(197, 14), lremovexattr=(198, 15), fremovexattr=(199, 16), setxattrat=(463, 463)),
    **dict(removexattrat=(466, 466), file_setattr=(469, 469), open=(2, None), openat=(257, 56), openat2=(437, 437)),
    **dict(creat=(85, None), mknod=(133, None), mknodat=(259, 33), socketpair=(53, 199), syslog=(103, 116)),
}

ALWAYS = (
    *("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "mount", "umount2", "pivot_root", "unshare", "setns"),
    *("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
    *("name_to_handle_at", "open_by_handle_at", "fanotify_init", "syslog"),
)
"""No confined command makes these. It can't start a process in new namespaces, or make a set-user-ID file, either."""
UNCOUNTED_MEMORY = ("memfd_create", "memfd_secret", "shmget")
"""Memory that no limit of a process counts: for where no control group does."""
CHOICE_OF_PROCESSORS = ("sched_setaffinity",)
OTHERS_OF_THE_USER = (
    *("ptrace", "kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "process_madvise", "migrate_pages", "move_pages"),
    *("prlimit64", "setpriority", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr", "ioprio_set"),
    *("shmget", "shmat", "msgget", "semget", "mq_open"),
)
"""What reaches other processes of the same user, for where no namespace keeps them apart; `prlimit64` of oneself stays."""
WHAT_LANDLOCK_LEAVES = (
    *("inotify_add_watch", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
)
"""What Landlock allows with files wherever they are: changing their mode, owner, times and attributes; watching them."""


def known_machine() -> bool:
    """Tell whether the system calls of this machine are known here."""
    return os.uname().sysname == "Linux" and os.uname().machine in _AUDIT


def numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the numbers that system calls have on this machine; those that it does not have are left out."""
    column = _COLUMN[os.uname().machine]
    return {name: number for name in names if (number := _NUMBERS[name][column]) is not None}


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int = errno.EPERM) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def program(denied: Iterable[str], *, sockets: bool, internet_only: bool) -> bytes:
    """Return the filter: `denied` fail with EPERM; `sockets` may be made, with `internet_only` none but those.

    Of sockets there are only kinds that a network namespace holds: AF_VSOCK reaches a virtual machine's host from any of them.
    """
    names = dict.fromkeys(denied)
    allow = _step(_RETURN, _ALLOW)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _AUDIT[os.uname().machine], yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _OTHER_ABI, no=1),
        _refuse(),
    ]
    own = numbers(("clone", "socket", "prlimit64"))
    if "prlimit64" in names:  # of another process; the lower half of the first argument is the pid
        del names["prlimit64"]
        steps += [_step(_EQUAL, own["prlimit64"], no=4), _step(_LOAD, _FIRST), _step(_EQUAL, 0, yes=1), _refuse(), allow]
    for number in numbers(names).values():
        steps += [_step(_EQUAL, number, no=1), _refuse()]
    for number in numbers(("clone3", "openat2")).values():  # what they ask for can't be seen; libraries then take the older ones
        steps += [_step(_EQUAL, number, no=1), _refuse(errno.ENOSYS)]
    steps += _no_set_id(allow)
    steps += [_step(_EQUAL, own["clone"], no=4), _step(_LOAD, _FIRST), _step(_ANY_BIT, _NEW_NAMESPACES, no=1), _refuse(), allow]
    steps += _unix_pairs(allow, connected_only=internet_only or not sockets)
    if not sockets:
        steps += [_step(_EQUAL, own["socket"], no=1), _refuse()]
    else:
        families = _INTERNET if internet_only else (*_INTERNET, *_OF_A_NAMESPACE)
        steps += [_step(_EQUAL, own["socket"], no=len(families) + 3), _step(_LOAD, _FIRST)]
        steps += [_step(_EQUAL, family, yes=left) for left, family in zip(range(len(families), 0, -1), families, strict=True)]
        steps += [_refuse(), allow]
    return b"".join([*steps, allow])


def _unix_pairs(allow: bytes, *, connected_only: bool) -> list[bytes]:
    """Return the steps by which pairs of sockets are Unix sockets; another family's may make the kernel load a module.

    `connected_only` is for where no Unix socket may be made: one for datagrams sends to whatever address it is told.
    """
    pair = numbers(("socketpair",))["socketpair"]
    if not connected_only:
        return [_step(_EQUAL, pair, no=4), _step(_LOAD, _FIRST), _step(_EQUAL, _UNIX, yes=1), _refuse(), allow]
    steps = [_step(_EQUAL, pair, no=6), _step(_LOAD, _FIRST), _step(_EQUAL, _UNIX, no=2)]
    return [*steps, _step(_LOAD, _FIRST + 8), _step(_ANY_BIT, _DATAGRAMS, no=1), _refuse(), allow]


def _no_set_id(allow: bytes) -> list[bytes]:
    """Return the steps by which no file gets the bits that make whoever starts it its owner.

    In a folder that is mounted for writing such a file would be the caller's, who may be root.
    """
    steps = []
    for name, number in numbers(_MODES).items():
        mode = _FIRST + 8 * _MODES[name]
        steps += [_step(_EQUAL, number, no=4), _step(_LOAD, mode), _step(_ANY_BIT, _SET_ID, no=1), _refuse(), allow]
    for name, number in numbers(_OPENED).items():
        flags = _FIRST + 8 * _OPENED[name]
        steps += [_step(_EQUAL, number, no=6), _step(_LOAD, flags), _step(_ANY_BIT, _CREATES, no=3)]
        steps += [_step(_LOAD, flags + 8), _step(_ANY_BIT, _SET_ID, no=1), _refuse(), allow]
    return steps


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def install(steps: bytes) -> None:
    """Have a filter on this process, and on all that it becomes or starts, for good. It must have given up new privileges."""
    given = _Program(len(steps) // 8, steps)
    prctl("seccomp", _SECCOMP, _MODE_FILTER, ctypes.addressof(given))
