"""What a container is given before it starts, and what it starts with: the work folder, the standard input, a way out."""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand
from pytest_execgo.sandbox import egress_inside

GIVEN = "/.execgo"
"""Where it is laid down: a volume that the container's user can read and not write."""
DOORS = "/.execgo-egress"
"""Where the folder with the egress proxy's Unix socket is, for a command that may reach some hosts."""
DOOR = "door"
PROXY_PORT = 3128
NOT_STARTED = (126, 127)
"""Exit codes of a shell that could not start a program; a program may have them, too."""
_WORK, _STDIN, _INSIDE = "work", "stdin", "egress_inside.py"
_IN_MEMORY = 4 << 20


def start_line(command: ConfinedCommand) -> tuple[str, ...]:
    """Return what the container runs: a shell that copies the work folder where it belongs, then becomes the command.

    For a command that may reach some hosts, Python comes between, which hands over the way out.
    """
    copy = f"cp -R {GIVEN}/{_WORK}/. . && " if command.work else ""
    way_out = f"python3 -I {GIVEN}/{_INSIDE} {DOORS}/{DOOR} {PROXY_PORT} -- " if command.hosts else ""
    stdin = f" < {GIVEN}/{_STDIN}" if command.stdin else ""
    return ("/bin/sh", "-c", f'{copy}exec {way_out}"$@"{stdin}', "sh", *command.argv)


def not_started(command: ConfinedCommand, said: bytes) -> str | None:
    """Return why the command could not be started, by what its shell or the engine's init said; None when they did not say so."""
    if b"exec /bin/sh failed" in said:
        return f"{command.argv[0]} could not be started: the image has no /bin/sh"
    program = re.escape(command.argv[0].encode())
    found = re.search(rb"^/?(?:bin/)?sh: [^\n]*?" + program + rb": ([^\n]+)\n\Z", said)
    return None if found is None else f"{command.argv[0]} could not be started: {found[1].decode('utf-8', 'replace')}"


@contextmanager
def archive(command: ConfinedCommand) -> Iterator[IO[bytes] | None]:
    """Give a tar of what the command is given, None if that is nothing; `SandboxError` when it is more than the disk may hold."""
    if not command.work and not command.stdin and not command.hosts:
        yield None
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, content in _single_files(command).items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
            if command.work:
                _add(tar, command.work, command.disk_bytes)
        file.seek(0)
        yield file


def _single_files(command: ConfinedCommand) -> dict[str, bytes]:
    files = {_STDIN: command.stdin} if command.stdin else {}
    return {**files, _INSIDE: Path(egress_inside.__file__).read_bytes()} if command.hosts else files


def _add(tar: tarfile.TarFile, work: Path, most: int) -> None:
    size = 0

    def of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal size
        if not (entry.isreg() or entry.isdir() or entry.issym()):
            return None  # sockets and the like mean nothing inside
        size += entry.size
        if size > most:
            raise SandboxError("files_too_large", f"the files of the command take more than the {most} bytes of its disk")
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o111 else 0o644
        return entry

    tar.add(os.fspath(work), arcname=_WORK, filter=of_root)
