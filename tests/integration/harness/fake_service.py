"""A service that misbehaves in exactly one way: `fake_service.py MODE -addr HOST:PORT [--ready-fd N] [ignored]`."""

# ruff: noqa: T201 - what is printed here is read by the test
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        print("asked", self.path, flush=True)


class Server(HTTPServer):
    allow_reuse_port = True


class ServerAlone(HTTPServer):
    allow_reuse_address = False


def option(name: str) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def announce(text: str) -> None:
    fd = option("--ready-fd")
    if fd is not None:
        with os.fdopen(int(fd), "w") as ready:
            ready.write(text + "\n")


def stop(*_: Any) -> None:
    print("stopping", flush=True)
    raise SystemExit(0)


def grow_a_tree() -> None:
    """Start descendants that are hard to end, and wait until each of them says that it is there."""
    hardy = (
        "echo child; exec sleep 1000",
        "setsid sh -c 'echo orphan; exec sleep 1000' & exit",
        "setsid sh -c 'trap \"\" TERM HUP INT; echo deaf; while :; do sleep 1000; done' & exit",
        "setsid sh -c 'echo stopped; kill -STOP $$; sleep 1000' & exit",
    )
    read_end, write_end = os.pipe()
    for script in hardy:
        subprocess.Popen(["sh", "-c", script], stdout=write_end)
    with os.fdopen(read_end) as births:
        for _ in hardy:
            print("grown:", births.readline().strip(), flush=True)


def main() -> None:
    mode = sys.argv[1]
    print(f"fake service, mode {mode}, pid {os.getpid()}", flush=True)
    host, port = (option("-addr") or "").split(":")
    if mode == "exits":
        print("a reason to end", flush=True)
        raise SystemExit(7)
    if mode == "never_ready":
        signal.pause()
    if mode == "announces_garbage":
        announce("hello?")
        signal.pause()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "ignores_sigterm" else stop)
    if mode == "grows_a_tree":
        grow_a_tree()
    kind = {"shares_nothing": ServerAlone, "reuses_address": HTTPServer}.get(mode, Server)
    try:
        server = kind((host, int(port)), Health)
    except OSError as error:
        raise SystemExit(f"listen tcp {host}:{port}: bind: {error.strerror}") from error
    port_said = 1 if mode == "announces_another_port" else server.server_port
    announce(json.dumps({"pid": os.getpid(), "port": port_said}))
    server.serve_forever()


if __name__ == "__main__":
    main()
