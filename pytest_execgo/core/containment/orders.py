"""What the stage is told to do: how to confine a command, and the command. Imports nothing that takes time.

Who gives orders and the stage that carries them out speak over a channel, a connected pair of sockets. In go the orders (their
length in a line, then `marshal`), and later `go`. Out come lines: `room` (the place is made), `ready` (the command is about to
begin); then `launch N` (errno: it could not be started) or nothing, and `ended CODE PEAK` (exit code, -N for signal N; most bytes
that one process held). `failed WHY` says that the command was not confined. Whoever closes the channel ends the command.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False  # the one in `typing` costs more time than all of this
if TYPE_CHECKING:
    from typing import TypedDict

    class View(TypedDict):
        """A piece of the host that the command sees, for reading: `source` at `path`, or a link there that leads to `link`."""

        path: str
        source: str
        link: str | None

    class Place(TypedDict):
        """A folder of the host, as the stage finds it, that the command gets at `target`."""

        source: str
        target: str
        writable: bool

    class Orders(TypedDict):
        """How to confine a command, and the command.

        `rung` is how the stage was started. `uid` is whom the command becomes, None for who the stage is. `folders` and `files`
        are at the paths given here for the stage; what is in `files` is copied into `cwd`. `disk_bytes` bounds cwd, /tmp and
        /dev/shm together. `network` is `none`, `proxy` (nothing but a listener on 127.0.0.1 at `port`, which comes with `room`)
        or `any`. `limits` are rlimits by name, `processors` how many the command keeps to, `denied` system calls that it can't
        make. `texts` are files that the stage writes. Where there is no mount namespace, `readable` and `writable` are what the
        command may open.
        """

        rung: str
        argv: list[str]
        env: dict[str, str]
        cwd: str
        uid: int | None
        views: list[View]
        files: str | None
        folders: list[Place]
        disk_bytes: int
        network: str
        port: int
        limits: dict[str, int]
        processors: int | None
        denied: list[str]
        texts: dict[str, str]
        readable: list[str]
        writable: list[str]


def written(orders: Orders) -> bytes:
    """Return orders as they are sent."""
    content = marshal.dumps(orders)  # type: ignore[arg-type]
    return b"%d\n" % len(content) + content


def read_orders(channel: int) -> Orders:
    """Read orders from the channel; `OSError` when it ends before they do."""
    length, content = int(read_line(channel) or b"0"), bytearray()
    while len(content) < length:
        piece = os.read(channel, length - len(content))
        if not piece:
            break
        content += piece
    if not content:
        raise OSError(32, "there were no orders")
    orders: Orders = marshal.loads(content)  # noqa: S302 - from the process that started this one
    return orders


def read_line(channel: int) -> bytes:
    """Return the next line and not a byte more, b"" at the channel's end."""
    text = bytearray()
    while not text.endswith(b"\n"):
        piece = os.read(channel, 1)
        if not piece:
            return b""
        text += piece
    return bytes(text)


def tell(channel: int, *words: object) -> None:
    """Send one line."""
    line = " ".join(str(word) for word in words).replace("\n", " ")
    os.write(channel, line.encode("utf-8", "replace") + b"\n")
