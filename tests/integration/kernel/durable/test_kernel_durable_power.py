"""The power goes: of the data folder only what was synced is left, and all promises hold all the same.

A SIGKILL can't show a missing fsync, since the system keeps what a process wrote. So a small library (`synced_only.c`) is preloaded
into the kernel and keeps a shadow of the data folder, just what was synced of it; the next kernel finds that in its place.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
SOURCE = Path(__file__).with_name("synced_only.c")
LIVES = 6
CLIENTS = 6
GONE = (OSError, http.client.HTTPException)
TERMINAL = ("success", "failed", "skipped")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler; apt-get install gcc libc6-dev (or what your system calls them)")
    built = tmp_path_factory.mktemp("library") / "synced_only.so"
    subprocess.run([compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", built, SOURCE, "-ldl", "-pthread"], check=True)
    return built


class Disk:
    """A folder whose unsynced bytes can be dropped."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder = folder
        self.library = library
        self.current = folder / "disk0"
        self.current.mkdir()
        self.shadow = folder / "shadow0"

    def preload(self) -> dict[str, str]:
        """Return the environment of the process that is to use the folder; one at a time, each with a shadow of its own."""
        self.shadow.mkdir()
        return {"LD_PRELOAD": str(self.library), "SYNCED_ROOT": str(self.current), "SYNCED_SHADOW": str(self.shadow)}

    def power_cut(self) -> None:
        """Drop what was not synced."""
        number = int(self.current.name.removeprefix("disk")) + 1
        self.current = self.folder / f"disk{number}"
        self._restore((self.shadow / "root").read_text(), self.current)
        self.shadow = self.folder / f"shadow{number}"

    def _restore(self, key: str, target: Path) -> None:
        target.mkdir()
        listing = self.shadow / "folders" / key
        for line in listing.read_text().splitlines() if listing.exists() else ():
            kind, inner, name = line.split(" ", 2)
            content = self.shadow / "files" / inner
            if kind == "d":
                self._restore(inner, target / name)
            elif content.exists():
                shutil.copyfile(content, target / name)
            else:
                (target / name).touch()  # its name was synced, not one byte of it


@pytest.fixture
def disk(tmp_path: Path, library: Path) -> Disk:
    return Disk(tmp_path, library)


def graph(name: str, out: Path) -> list[dict[str, Any]]:
    """A command that must run once, one that may run again, a noop after both."""

    def shell(task_id: str, **more: Any) -> dict[str, Any]:
        return {"id": task_id, "type": "shell", "params": {"script": f"echo {task_id} >> {out}"}, **more}

    return [
        shell(f"{name}-once", annotations={"effect": "once"}),
        shell(f"{name}-more"),
        {"id": f"{name}-z", "type": "noop", "depends_on": [f"{name}-once", f"{name}-more"]},
    ]


class Clients:
    """Clients that submit, look, cancel and remove, and note what they were told."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.out.touch()
        self.numbers = itertools.count()
        self.busy = threading.Event()
        self.accepted: set[str] = set()
        self.asked: set[str] = set()  # to be cancelled or deleted, perhaps without an answer
        self.deleted: set[str] = set()
        self.ends: dict[str, dict[str, Any]] = {}

    def until_killed(self, kernel: Any) -> None:
        """Keep a kernel busy until it is gone, then return."""
        threads = [threading.Thread(target=self._work, args=(kernel, random.Random(number))) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, kernel: Any, chance: random.Random) -> None:
        try:
            while True:
                name = f"g{next(self.numbers)}"
                status, text, _ = kernel.call("POST", "/tasks", {"tasks": graph(name, self.out)})
                assert status == 202, text
                self.accepted.add(name)
                self.busy.set()
                match chance.randrange(4):
                    case 0:
                        self.asked.add(f"{name}-more")
                        if kernel.call("DELETE", f"/tasks/{name}-more")[0] == 204:
                            self.deleted.add(f"{name}-more")
                    case 1:
                        self.asked.add(f"{name}-more")
                        kernel.call("POST", f"/tasks/{name}-more/cancel")
                for task_id in (f"{name}-once", f"{name}-more"):
                    found = kernel.task(task_id)
                    if found is not None and found["status"] in TERMINAL:
                        self.ends[task_id] = found
        except GONE:
            return

    def broken_promises(self, kernel: Any) -> list[str]:
        """Wait until everything has ended on a kernel; say what is not as clients were told, or was done twice."""
        names = [task["id"] for name in sorted(self.accepted) for task in graph(name, self.out)]
        listed = {task["id"]: task for task in json.loads(kernel.call("GET", "/tasks")[1])}
        broken = [f"{name} is lost" for name in names if name not in listed and name not in self.asked]
        broken += [f"{name} is back" for name in self.deleted if name in listed]
        ended = {name: kernel.end_of(name) for name in names if name in listed}
        broken += [f"{name} has another end" for name, task in self.ends.items() if ended.get(name, task) != task]
        wrote = Counter(self.out.read_text().split())
        for name, task in ended.items():
            unknown = task.get("runtime", {}).get("error", {}).get("code") == "unknown"
            done = task["status"] == "success" and wrote[name] > 0
            if name.endswith("-once") and (wrote[name] > 1 or not (done or unknown)):
                broken.append(f"{name} ran {wrote[name]} times: {task}")
            elif name.endswith("-more") and not done and name not in self.asked:
                broken.append(f"{name} did not run: {task}")
        return broken


def live(disk: Disk, start: Start, clients: Clients, seconds: float, fault: tuple[str, int] | None = None) -> None:
    """Let a kernel live on the disk under clients, until the power goes, so long after it took the first graph."""
    kernel = start(folder=disk.current, environment=disk.preload(), fault=fault)
    clients.busy.clear()

    def end() -> None:
        clients.busy.wait(60)
        time.sleep(seconds)
        kernel.kill()

    ending = threading.Thread(target=end)
    ending.start()
    try:
        clients.until_killed(kernel)
    finally:
        ending.join()
    disk.power_cut()


def test_power_cuts_lose_nothing_and_nothing_is_done_twice(start: Start, disk: Disk, tmp_path: Path) -> None:
    clients, moments = Clients(tmp_path / "out"), random.Random(11)
    for _ in range(LIVES):
        before = len(clients.accepted)
        live(disk, start, clients, moments.uniform(0.2, 0.8))
        assert len(clients.accepted) > before
    last = start(folder=disk.current)
    assert clients.broken_promises(last) == []
    assert "store" not in last.health()
    assert last.stop() == 0


@pytest.mark.parametrize("fault", ["no_sync", "no_folder_sync"])
def test_a_kernel_that_does_not_sync_is_found_out(start: Start, disk: Disk, tmp_path: Path, fault: str) -> None:
    clients = Clients(tmp_path / "out")
    live(disk, start, clients, 0.8, fault=(fault, 1))
    assert clients.accepted
    last = start(folder=disk.current)
    assert [broken for broken in clients.broken_promises(last) if "is lost" in broken]


def test_what_was_answered_before_the_power_went_is_there(start: Start, disk: Disk, tmp_path: Path) -> None:
    first = start(folder=disk.current, environment=disk.preload())
    lasting = {"script": f"echo begun >> {tmp_path}/out; sleep 60"}
    once = {"id": "once", "type": "shell", "params": lasting, "annotations": {"effect": "once"}}
    first.submit(once, {"id": "after", "type": "noop", "depends_on": ["once"]}, {"id": "more", "type": "shell", "params": lasting})
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() or (tmp_path / "out").read_text().count("begun") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert first.call("POST", "/tasks/more/cancel")[0] in (200, 202)
    first.submit({"id": "late", "type": "noop"})
    first.kill()
    disk.power_cut()
    second = start(folder=disk.current)
    assert second.end_of("once")["runtime"]["error"]["code"] == "unknown"
    assert second.end_of("after")["error"] == "dependency once failed"
    assert second.end_of("more")["run_status"] == "cancelled"
    assert second.end_of("late")["status"] == "success"
    assert (tmp_path / "out").read_text() == "begun\n" * 2
