"""Stands for a command that a fork server confines. Run as a file by a bare interpreter: next to nothing is imported here.

Arguments: the server's socket, the folder of the package, and what `python -m pytest_execgo.sandbox` is to be told, in mode
native. Where no server answers, it becomes that.
"""

from __future__ import annotations

import os
import sys

LENGTH_BYTES = 4
MOST_SAID = 4096
"""Bytes of an answer: the exit code, and what the server has to say if there was nobody to say it on the client's streams."""
GONE = 125
"""Exit code when the server's end was lost: nobody knows how the command ended. And when it could not begin, and says why."""
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from pytest_execgo.sandbox.__main__ import main; sys.exit(main(sys.argv[2:]))"


def main(address: str, packages: str, words: list[str]) -> int:
    """Have a server do what the words say, with this process's streams, and return the exit code."""
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(address)
    except OSError:
        bare = ["-S"] if words[0] == "exec" else []
        os.execv(sys.executable, [sys.executable, "-I", *bare, "-c", BOOT, packages, *words])  # noqa: S606
    told = b"\0".join(map(os.fsencode, words))
    data = len(told).to_bytes(LENGTH_BYTES, "big") + told
    streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
    answer = b""
    try:
        sent = connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
        connection.sendall(data[sent:])
    except OSError:  # it would not hear all of it: it may have said why
        pass
    try:
        answer = connection.recv(MOST_SAID)
    except OSError:
        pass
    os.write(2, answer[1:])
    return answer[0] if answer else GONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
