"""The fork servers of one service: processes that have imported all that it takes to confine a command in mode native.

A command of theirs is a small client, which does without where none answers. They are the service's children, and go with it: by
their standard input, whose end it holds, also when it is killed. What they have begun goes on.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

PACKAGES = str(Path(__file__).resolve().parents[2])
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from pytest_execgo.sandbox.__main__ import main; sys.exit(main(sys.argv[2:]))"
"""What makes an interpreter the sandbox's program: with `PACKAGES` and its own arguments."""
_CLIENT = str(Path(__file__).resolve().parents[1] / "sandbox" / "fork_client.py")
_STOPPING = 5.0  # seconds


class ForkServers:
    """At most one server for each kind of work. Their sockets lie in `folder`; `environment` is theirs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def client(self, kind: Literal["exec", "run"]) -> list[str]:
        """Return the words of a client, to be started in the folder; its server is started if there is none. Doesn't block."""
        address = f"{kind}.sock"  # as a path from the folder: a socket's address holds 107 bytes only
        with self._lock:
            known = self._running.get(kind)
            if known is None or known.poll() is not None:
                if known is not None and known.stdin is not None:
                    known.stdin.close()
                self._running[kind] = self._start(kind, address)
        return [sys.executable, "-I", "-S", _CLIENT, address, PACKAGES]

    def _start(self, kind: str, address: str) -> subprocess.Popen[bytes]:
        bare = ["-S"] if kind == "exec" else []  # it needs nothing that was installed
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-I", *bare, "-c", BOOT, PACKAGES, "serve", kind, address],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """End them."""
        with self._lock:
            for server in self._running.values():
                assert server.stdin is not None
                server.stdin.close()
            for kind, server in self._running.items():
                try:
                    server.wait(_STOPPING)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()
                for name in (f"{kind}.sock", f"{kind}.sock.new"):
                    (self._folder / name).unlink(missing_ok=True)
            self._running.clear()
