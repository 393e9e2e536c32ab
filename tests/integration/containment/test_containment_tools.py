"""A strict kernel: the file tool stays beneath its roots, the http tool with its hosts, scripts stay out where they are denied."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.kernel.executors.tools.beneath import Beneath

_IDS = itertools.count()


class Listening:
    """A server that says what it was asked, and sends away whom it is told to."""

    def __init__(self) -> None:
        outer = self
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                away = self.path.partition("?to=")[2]
                self.send_response(302 if away else 200)
                if away:
                    self.send_header("Location", away)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:
                """Stay quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def allowed() -> Iterator[Listening]:
    server = Listening()
    yield server
    server.close()


@pytest.fixture(scope="module")
def forbidden() -> Iterator[Listening]:
    server = Listening()
    yield server
    server.close()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `root` (allowed) and `secret` (not)."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "root" / "inner").mkdir(parents=True)
    (folder / "root" / "file").write_text("inside")
    (folder / "root2").mkdir()
    (folder / "root2" / "file").write_text("beside")
    (folder / "secret").write_text("outside")
    root = folder / "root"
    (root / "to_secret").symlink_to("../secret")
    (root / "to_secret_absolute").symlink_to(folder / "secret")
    (root / "to_folder").symlink_to("..")
    (root / "to_inside").symlink_to("inner/../file")
    (root / "to_inside_absolute").symlink_to(root / "file")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("../made_outside")
    (root / "proc_root").symlink_to("/proc/self/root")
    os.mkfifo(root / "fifo")
    return folder


@pytest.fixture(scope="module")
def strict(start_service: Any, room: Path, allowed: Listening) -> Any:
    options = ("-file-root", str(room / "root"), "-http-allow", f"127.0.0.1:{allowed.port}", "-script-policy", "deny")
    return start_service("kernel", *options, cwd=room / "root")


def attempt(kernel: Any, kind: str, **params: Any) -> tuple[str, str]:
    """Run one task and return its result and its error."""
    ended = kernel.run(f"t{next(_IDS)}", kind, params)
    return str(ended.get("result")), ended.get("error", "")


OUTSIDE = "path escapes from the file roots"


@pytest.mark.parametrize("action", ["read", "write", "append", "delete", "stat"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{room}/secret", OUTSIDE),
        ("{room}/root/../secret", OUTSIDE),
        ("../secret", OUTSIDE),
        ("{room}/root2/file", OUTSIDE),
        ("//{room}/secret", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("/", OUTSIDE),
        ("/dev/null", OUTSIDE),
        ("{room}/root/to_folder/secret", OUTSIDE),
        ("to_folder/to_folder/secret", OUTSIDE),
        ("proc_root/etc/passwd", OUTSIDE),
        ("inner/\x00/x", "invalid argument"),
        ("loop/x", "too many levels of symbolic links"),
    ],
)
def test_no_path_leads_outside(strict: Any, room: Path, action: str, path: str, reason: str) -> None:
    result, error = attempt(strict, "file", action=action, path=path.format(room=room), content="overwritten")
    assert result == "None"
    assert error.endswith(reason), error
    assert (room / "secret").read_text() == "outside"
    assert (room / "root2" / "file").read_text() == "beside"


@pytest.mark.parametrize("action", ["read", "write", "append", "stat"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("to_secret", OUTSIDE),
        ("to_secret_absolute", OUTSIDE),
        ("dangling", OUTSIDE),
        ("loop", "too many levels of symbolic links"),
    ],
)
def test_no_link_leads_outside(strict: Any, room: Path, action: str, path: str, reason: str) -> None:
    result, error = attempt(strict, "file", action=action, path=path, content="overwritten")
    assert (result, error[-len(reason) :]) == ("None", reason)
    assert (room / "secret").read_text() == "outside"
    assert not (room / "made_outside").exists()


def test_special_files_are_refused_at_once(strict: Any) -> None:
    for action in ("read", "stat"):
        assert attempt(strict, "file", action=action, path="fifo")[1].endswith("not a regular file")
    assert "fifo" in attempt(strict, "file", action="write", path="fifo", content="x")[1]  # nobody reads: no such device


def test_what_is_inside_works_as_ever(strict: Any, room: Path) -> None:
    for path in ("file", "to_inside", "to_inside_absolute", "inner/../file", str(room / "root" / "file"), "./file"):
        assert "inside" in attempt(strict, "file", action="read", path=path)[0]
    assert attempt(strict, "file", action="write", path="new/deep/x", content="a")[1] == ""
    assert attempt(strict, "file", action="append", path="new/deep/x", content="b")[1] == ""
    assert (room / "root/new/deep/x").read_text() == "ab"
    assert attempt(strict, "file", action="delete", path="new/deep/x")[1] == ""
    assert attempt(strict, "file", action="delete", path="new/deep")[1] == ""
    assert not (room / "root/new/deep").exists()
    assert attempt(strict, "file", action="read", path="new/nothing")[1] == "read file: open new/nothing: no such file or directory"
    assert attempt(strict, "file", action="read", path="inner")[1] == "read file: read inner: is a directory"
    (room / "root" / "a_link").symlink_to("../secret")
    assert attempt(strict, "file", action="delete", path="a_link")[1] == ""  # the link, not what it leads to
    assert (room / "secret").exists()


def test_a_name_that_is_swapped_meanwhile_never_leads_outside(room: Path) -> None:
    root = room / "root"
    (root / "good").mkdir()
    (root / "good" / "name").write_text("inside")
    (room / "bad").mkdir()
    (room / "bad" / "name").write_text("outside")
    enough = threading.Event()
    swap = root / "swap"
    swap.symlink_to("good")

    def swapping() -> None:
        for target in itertools.cycle(("good", "../bad", "dir")):
            if enough.is_set():
                return
            other = root / "other"
            if target == "dir":
                other.mkdir()
                (other / "name").write_text("inside")
                swap.unlink()
                other.rename(swap)
                (swap / "name").unlink()
                swap.rmdir()
            else:
                other.symlink_to(target)
                other.replace(swap)

    thread = threading.Thread(target=swapping)
    thread.start()
    files, seen = Beneath([str(root)]), set[str]()
    began, wanted = time.monotonic(), {"inside", "PathRefused"}
    while thread.is_alive():
        if time.monotonic() > began + (2 if wanted <= seen else 60):
            enough.set()
        try:
            fd = files.open(str(swap / "name"), os.O_RDONLY)
        except OSError as error:
            seen.add(type(error).__name__)
            continue
        with os.fdopen(fd) as stream:
            seen.add(stream.read())
    thread.join()
    assert "outside" not in seen
    assert wanted <= seen


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{forbidden}/",
        "http://localhost:{allowed}/",
        "http://[::1]:{allowed}/",
        "http://[::ffff:127.0.0.1]:{allowed}/",
        "http://127.1:{allowed}/",
        "http://2130706433:{allowed}/",
        "http://0x7f000001:{allowed}/",
        "http://0.0.0.0:{allowed}/",
        "http://127.0.0.1.:{allowed}/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://127.0.0.1:{allowed}@127.0.0.1:{forbidden}/",
        "http://user@127.0.0.1:{allowed}/",
        "http://127.0.0.1:{forbidden}#@127.0.0.1:{allowed}/",
        "http://127.0.0.1:{forbidden}\\@127.0.0.1:{allowed}/",
        "http://127.0.0.1:{kernel}/health",
        "http://127.0.0.1:{allowed}/?to=http://127.0.0.1:{forbidden}/",
        "http://127.0.0.1:{allowed}/?to=http://127.0.0.1:{kernel}/tasks",
        "http://127.0.0.1:{allowed}/?to=//localhost:{allowed}/",
    ],
)
def test_only_the_listed_pairs_are_reached(strict: Any, allowed: Listening, forbidden: Listening, url: str) -> None:
    ports = {"allowed": allowed.port, "forbidden": forbidden.port, "kernel": strict.client.base_url.port}
    before = len(forbidden.asked)
    result, error = attempt(strict, "http", url=url.format(**ports))
    assert result == "None"
    assert "is not allowed" in error or "invalid" in error, error
    assert len(forbidden.asked) == before


def test_the_listed_pair_is_reached_and_may_redirect_to_itself(strict: Any, allowed: Listening) -> None:
    for url in (f"http://127.0.0.1:{allowed.port}/a", f"http://127.0.0.1:{allowed.port}/?to=/b"):
        result, error = attempt(strict, "http", url=url)
        assert (error, "200" in result) == ("", True)


def test_scripts_are_denied_and_the_whitelist_holds(strict: Any, start_service: Any) -> None:
    assert "-script-policy deny" in attempt(strict, "shell", script="echo hi")[1]
    assert "'hi\\n'" in attempt(strict, "shell", command="echo", args=["hi"])[0]
    assert "not in the allowed whitelist" in attempt(strict, "shell", command="python3")[1]
    opened = start_service("kernel", "-script-policy=deny", EXECGO_SHELL_POLICY="open")
    assert "'hi\\n'" in attempt(opened, "shell", script="echo hi")[0]
