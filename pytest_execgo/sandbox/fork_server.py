"""Forks for each command that is to be confined: nothing has to be imported then, which is most of what confining one costs.

Started by whoever confines many commands, as `python -m pytest_execgo.sandbox serve`. A command is `fork_client`, which says what
`exec` or `run` would be told, hands its streams over, and ends with the same exit code; who ends it ends what it stands for. The
server ends with its standard input. What it has forked by then goes on. A client for which the system refuses a process, or a
descriptor, is told so; the next one may fare better.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.sandbox.fork_client import GONE, LENGTH_BYTES, MOST_SAID

_PIECE = 65_536
_FAILED = 1
_PAUSE = 0.1  # seconds; nobody tells when there is room again
PRELOADED = {
    "exec": ("exec_command", "native"),
    "run": ("run_document", "native", "toolchains"),
}
"""What each kind of server has imported, so that its copies need not."""


def serve(kind: str, address: str, main: Callable[[list[str]], int]) -> int:
    """Serve clients at a socket until standard input ends; `main` does what each of them says, in a process of its own."""
    for name in PRELOADED[kind]:
        import_module(f"pytest_execgo.sandbox.{name}")
    unready = Path(f"{address}.new")
    unready.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(unready))
        listener.listen(128)
        unready.replace(address)  # who sees it there is answered
        listener.setblocking(False)
        door = _Door(listener)
        gc.freeze()  # so that what is never freed is not written to, and stays shared with the copies
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (listener.fileno(), reading, sys.stdin.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    _fork(door, main)
                elif fd == reading:
                    _reap(reading)
                else:
                    return 0


def _reap(reading: int) -> None:
    os.read(reading, _PIECE)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


class _Door:
    """Where clients come in. It keeps a descriptor in hand, to turn one away where the system grants no further one."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self._in_hand: int | None = _any_descriptor()

    def admit(self) -> socket.socket | None:
        """Return the next client; None where there is none any more, or it had to be turned away."""
        try:
            return self.listener.accept()[0]
        except BlockingIOError:
            return None
        except OSError as error:
            self._turn_away(error)
            return None

    def _turn_away(self, why: OSError) -> None:
        if self._in_hand is not None:
            os.close(self._in_hand)
            self._in_hand = None
        try:
            with self.listener.accept()[0] as connection:
                _refuse(connection, why)
        except OSError:
            time.sleep(_PAUSE)
        with contextlib.suppress(OSError):  # somebody else was quicker: then without one
            self._in_hand = _any_descriptor()


def _any_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _refuse(connection: socket.socket, why: Exception) -> None:
    """Tell a client that nothing was begun for it."""
    reason = getattr(why, "strerror", None) or "no memory"
    text = f"sandbox: the fork server could not begin: {reason}; nothing was run, try again\n"
    with contextlib.suppress(OSError):  # it is gone
        connection.send(bytes([GONE]) + text.encode()[: MOST_SAID - 1])


def _fork(door: _Door, main: Callable[[list[str]], int]) -> None:
    connection = door.admit()
    if connection is None:
        return
    with connection:
        try:
            pid = os.fork()
        except OSError as error:
            _refuse(connection, error)
            return
        if pid == 0:
            door.listener.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _stand_in(connection, main)


def _stand_in(connection: socket.socket, main: Callable[[list[str]], int]) -> NoReturn:
    """Do what a client says with the client's streams, and tell it the exit code."""
    code = _FAILED
    try:
        words, streams = _told(connection)
    except (OSError, MemoryError) as error:
        _refuse(connection, error)
        os._exit(0)
    try:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
            os.close(fd)
        _end_with(connection)
        code = main(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else _FAILED
    except ExecGoError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        code = error.exit_code
    except BaseException:  # the client must hear of it, whatever it is
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            connection.send(bytes([code & 0xFF]))
        os._exit(0)


def _told(connection: socket.socket) -> tuple[list[str], list[int]]:
    data, streams, _, _ = socket.recv_fds(connection, _PIECE, 3)
    if len(streams) < 3:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # the system drops those for which there is no room
    length = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big")
    while len(data) < length:
        piece = connection.recv(_PIECE)
        if not piece:
            os._exit(0)  # nobody is there to be told
        data += piece
    return [os.fsdecode(word) for word in data[LENGTH_BYTES:].split(b"\0")], list(streams)


def _end_with(connection: socket.socket) -> None:
    """End this process, and with it what it confines, when the client ends."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)

    def look(number: int, frame: FrameType | None) -> None:
        if poll.poll(0):
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            raise SystemExit(GONE)

    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    look(0, None)  # it may have ended before
