"""Sets resource limits on itself, then becomes the command. Run as a file by a bare interpreter, never imported.

The parent can't set limits between fork and exec without running Python in a forked, threaded process, and can't set
them on a running command without a race; hence this step, about 9 ms, paid only by commands that have such a limit.

Arguments: a descriptor that hears of a failure (`<errno>` as text) and is closed by success; CPU seconds, address
space in bytes and number of processes, each `-` when unlimited; the control groups to join, separated as in PATH, `-` for
none; the program and its arguments.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys


def lower(kind: int, soft: int, hard: int) -> None:
    """Set a limit, but never above what holds already."""
    _, ceiling = resource.getrlimit(kind)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def processes_of_user() -> int:
    """Count the processes and threads of this user: `RLIMIT_NPROC` bounds them all together."""
    count = 0
    try:
        entries = os.listdir("/proc")  # noqa: PTH208 - pathlib would double the start-up
    except OSError:
        return 0
    for entry in entries:
        if not entry.isdecimal():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid == os.getuid():  # noqa: PTH116
                count += len(os.listdir(f"/proc/{entry}/task"))  # noqa: PTH208
        except OSError:  # that process ended meanwhile
            continue
    return count


def main(argv: list[str]) -> None:
    """Set the limits and replace this process; on failure report the errno and exit with 127."""
    report, cpu, memory, pids, groups = int(argv[1]), *argv[2:6]
    command = argv[6:]
    os.set_inheritable(report, False)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    failure = errno.ENOMEM
    try:
        for group in groups.split(os.pathsep) if groups != "-" else ():
            with open(f"{group}/cgroup.procs", "w") as joined:  # noqa: PTH123
                joined.write("0")
        if cpu != "-":
            lower(resource.RLIMIT_CPU, int(cpu), int(cpu) + 1)
        if pids != "-":
            allowed = processes_of_user() - 1 + int(pids)
            lower(resource.RLIMIT_NPROC, allowed, allowed)
        if memory != "-":
            lower(resource.RLIMIT_AS, int(memory), int(memory))
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose
    except OSError as error:
        failure = error.errno or errno.EINVAL
    except MemoryError:
        pass
    os.write(report, b"%d" % failure)
    os._exit(127)


if __name__ == "__main__":
    main(sys.argv)
