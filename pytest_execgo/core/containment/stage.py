"""Confines a command from within: the process between the one that wants it confined and the command itself.

Started in namespaces by `bwrap`, or plainly where it makes them itself or Landlock is to do, with a channel (`orders`). It
makes the place and forks the command's process, which gives up all that it may, proves that, waits for `go` and becomes the
command. The stage remains as the command's init: it reaps, tells the end, and takes everything with it when it ends.

Linux, standard library only, by a bare interpreter. Each command waits for it, so it imports what is quickly there: `_signal`
and `_socket` are what `signal` and `socket` are made of, and take a tenth of their time.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import os
import select

from pytest_execgo.core.containment import landlock, privileges, room, sweep, syscall_filter
from pytest_execgo.core.containment.orders import read_line, read_orders, tell
from pytest_execgo.core.containment.system_calls import (
    NEW_IPC,
    NEW_MOUNTS,
    NEW_NETWORK,
    NEW_PID,
    NEW_USER,
    NEW_UTS,
    prctl,
    unshare,
)

TYPE_CHECKING = False  # the one in `typing` costs time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pytest_execgo.core.containment.orders import Orders

_FAILED = 125
_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36
_SET_FLAGS, _GET_FLAGS, _UP = 0x8914, 0x8913, 1  # ioctls of a network interface


class NotConfined(Exception):
    """The command is not as confined as it was ordered to be; it is not started."""


def main(channel: int) -> NoReturn:
    """Carry out the orders that come through the channel, then end."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    os.umask(0o022)
    os.set_inheritable(channel, False)
    try:
        orders = read_orders(channel)
        if orders["rung"] == "namespace":
            _move_into_namespaces(channel, orders)
        _prepare(channel, orders)
        pid = os.fork()
    except (OSError, NotConfined, ValueError, EOFError) as error:
        tell(channel, "failed", _words(error))
        os._exit(_FAILED)
    if pid == 0:
        _become(channel, orders)
    _let_go_of_streams(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    _watch_over(channel, pid, orders)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error.args[-1] if error.args else error)


def _move_into_namespaces(channel: int, orders: Orders) -> None:
    """Return in a process that is the init of namespaces of its own, in which it may do what root may; this one waits for it."""
    uid, gid = os.getuid(), os.getgid()
    flags = NEW_MOUNTS | NEW_PID | NEW_IPC | NEW_UTS
    unshare(flags | (NEW_NETWORK if orders["network"] != "any" else 0) | (NEW_USER if orders["uid"] is None else 0))
    if orders["uid"] is None:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # in a moment the root is another one, for both processes
    pid = os.fork()
    if pid:
        os.close(channel)
        _let_go_of_streams(nothing)
        os.waitpid(pid, 0)
        os._exit(0)
    os.close(nothing)
    prctl("the parent's death", _PARENT_DEATH_SIGNAL, _signal.SIGKILL)


def _prepare(channel: int, orders: Orders) -> None:
    """Make the place, and say so; a listener for a proxy goes along."""
    if orders["rung"] == "landlock":
        prctl("the subreaper", _CHILD_SUBREAPER, 1)
        tell(channel, "room")
        return
    if os.getpid() != 1:  # what is mounted from here on must be nobody else's
        raise NotConfined("the stage is not in namespaces of its own")
    if orders["rung"] == "namespace":
        _socket.sethostname("sandbox")
        room.build_root(orders["views"])
        if orders["network"] != "any":
            _bring_loopback_up()
    room.furnish(orders)
    if orders["network"] == "proxy":
        _hand_out_listener(channel, orders["port"])
    else:
        tell(channel, "room")


def _bring_loopback_up() -> None:
    import fcntl
    import struct

    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, 0)
    request = struct.pack("16sh14x", b"lo", 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket.fileno(), _GET_FLAGS, request))[1]
    fcntl.ioctl(any_socket.fileno(), _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
    any_socket.close()


def _hand_out_listener(channel: int, port: int) -> None:
    import socket

    with socket.create_server(("127.0.0.1", port), backlog=128) as listener, socket.socket(fileno=os.dup(channel)) as way:
        socket.send_fds(way, [b"room\n"], [listener.fileno()])


def _let_go_of_streams(nothing: int) -> None:
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


def _become(channel: int, orders: Orders) -> NoReturn:
    """Be the command, or say why not."""
    try:
        _give_everything_up(orders)
        _prove(orders)
        tell(channel, "ready")
        if read_line(channel):
            for heard_by_commands in (_signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):
                _signal.signal(heard_by_commands, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            _exec(channel, orders)
    except BaseException as error:  # whatever it is, it must not look like the command's own end
        tell(channel, "failed", _words(error))
    os._exit(_FAILED)


def _exec(channel: int, orders: Orders) -> None:
    """Become the program, looked for as a shell does; nothing may be imported any more, since it may not be there to be read."""
    program, number = orders["argv"][0], errno.ENOENT
    folders = orders["env"].get("PATH", "/usr/bin:/bin").split(":") if "/" not in program else ["."]
    privileges.limit(orders["limits"])
    for folder in folders:
        try:
            os.execve(f"{folder}/{program}" if folder != "." else program, orders["argv"], orders["env"])  # noqa: S606
        except MemoryError:
            number = errno.ENOMEM
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                number = error.errno or errno.EINVAL
    tell(channel, "launch", number)
    os._exit(127)


def _give_everything_up(orders: Orders) -> None:
    os.setsid()
    wanted = orders["processors"]
    if wanted is not None:
        allowed = sorted(os.sched_getaffinity(0))
        if wanted < len(allowed):
            first = os.getpid() % len(allowed)  # not the same ones for everybody
            os.sched_setaffinity(0, [*allowed[first:], *allowed[:first]][:wanted])
    privileges.drop(orders["uid"])
    os.chdir(orders["cwd"])
    landlocked = orders["rung"] == "landlock"
    if landlocked:
        rules = {path: landlock.READ for path in orders["readable"] if os.access(path, os.R_OK)}  # of the rest it has nothing
        rules |= {path: landlock.EVERYTHING for path in orders["writable"]}
        landlock.restrict(rules, landlock.EVERYTHING, landlock.SIGNALS_AND_ABSTRACT_SOCKETS)
    no_sockets = landlocked and orders["network"] == "none"
    internet_only = landlocked or orders["network"] == "any"
    syscall_filter.install(syscall_filter.program(orders["denied"], sockets=not no_sockets, internet_only=internet_only))


def _prove(orders: Orders) -> None:
    """Try what the command must not be able to do; `NotConfined` if any of it can be done."""
    if privileges.has_capabilities():
        raise NotConfined("it would have capabilities")
    if orders["uid"] is not None and os.getresuid() != (orders["uid"],) * 3:
        raise NotConfined(f"it would not be user {orders['uid']}")
    if orders["rung"] == "landlock":
        _prove_landlock(orders)
    else:
        _prove_namespaces(orders)
    if orders["rung"] == "landlock" or orders["network"] == "any":
        pair = (_socket.AF_UNIX, _socket.SOCK_DGRAM)
        _must_fail("a socket can be made that sends to the host's", lambda: _socket.socketpair(*pair))
    for place in orders["folders"]:
        wanted = os.R_OK | os.X_OK | (os.W_OK if place["writable"] else 0)
        if not os.access(place["target"], wanted):
            how = "read and changed" if place["writable"] else "read"
            who = f"user {os.getuid()}"
            raise NotConfined(f"the mounted folder {place['target']} can't be {how} by {who}: change its owner or mode")
    if not os.access(orders["cwd"], os.R_OK | os.X_OK):
        raise NotConfined(f"the working folder {orders['cwd']} can't be entered")


def _prove_namespaces(orders: Orders) -> None:
    if os.getppid() != 1:
        raise NotConfined("it would not be in a PID namespace of its own")
    seen = {f"/{name}" for name in os.listdir("/")}  # noqa: PTH208
    mine = [view["path"] for view in orders["views"]] + [place["target"] for place in orders["folders"]]
    mine += [*orders["texts"], orders["cwd"]]
    foreign = seen - {f"/{path.split('/')[1]}" for path in mine} - {"/proc", "/dev", "/tmp"}  # noqa: S108
    if foreign:
        raise NotConfined(f"it would see {min(foreign)} of the host")
    _must_fail("the root can be changed", lambda: os.mkdir("/.proof"))  # noqa: PTH102
    if orders["network"] != "any":
        with open("/proc/net/dev") as table:  # noqa: PTH123
            interfaces = {line.split(":")[0].strip() for line in table.readlines()[2:]}
        if interfaces != {"lo"}:
            raise NotConfined(f"it would have a network: {', '.join(sorted(interfaces))}")


def _prove_landlock(orders: Orders) -> None:
    _must_fail("the root can be read", lambda: os.listdir("/"))  # noqa: PTH208
    _must_fail("processes can be seen", lambda: os.listdir("/proc"))  # noqa: PTH208
    _must_fail("its parent can be signalled", lambda: os.kill(os.getppid(), 0))
    _must_fail("a socket can be made", lambda: _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0))
    if orders["network"] == "none":
        _must_fail("a network socket can be made", lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0))


def _must_fail(what: str, attempt: Callable[[], Any]) -> None:
    try:
        attempt()
    except OSError:
        return
    raise NotConfined(what)


def _watch_over(channel: int, pid: int, orders: Orders) -> NoReturn:
    """Reap until the command has ended, tell how, and end everything. The same when the channel is closed at its other end."""
    ended = _await_end(channel, pid)
    if orders["rung"] == "landlock":
        sweep.end_descendants()
    if ended is not None:
        try:
            tell(channel, "ended", *ended)
        except OSError:  # nobody is there to be told
            os._exit(_FAILED)
    os._exit(0)  # as init it takes the namespace with it


def _await_end(channel: int, pid: int) -> tuple[int, int] | None:
    """Return the command's exit status and peak memory in bytes; None when the channel was closed before."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(channel, select.POLLRDHUP)  # never for input: `go` is the command's to read
    while True:
        found = 1
        while found:
            try:
                found, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if found == pid:
                return os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024
        for fd, _ in poll.poll():
            if fd == channel:
                return None
            os.read(reading, 4096)
