"""Hands a listening socket of the network that it runs in to an egress proxy outside, then becomes the command. Run as a file.

Arguments: the Unix socket at which the proxy waits, the port on 127.0.0.1, `--`, the command. For modes whose network is made by
somebody else (a container's); a Python from 3.9 on will do, and nothing of ours is needed beside this file.
"""

import array
import os
import socket
import sys


def main(argv: list[str]) -> None:
    """Hand over and become the command; exits with 126 and one line on standard error when that fails."""
    path, port, command = argv[1], int(argv[2]), argv[4:]
    try:
        with socket.socket() as listener, socket.socket(socket.AF_UNIX) as door:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            door.connect(path)
            handed = array.array("i", [listener.fileno()])
            door.sendmsg([b"listener"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
            if door.recv(1) != b"1":
                raise OSError(0, "the proxy did not take the listener")
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose
    except OSError as error:
        sys.stderr.write(f"egress: {error}\n")
    os._exit(126)


if __name__ == "__main__":
    main(sys.argv)
