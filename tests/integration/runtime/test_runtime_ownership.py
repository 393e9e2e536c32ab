"""Commands are owned: whatever is killed, each accepted task ends once, and its result is there or its loss is said."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_execgo.core import process_identity
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.runtime import keeper_client
from pytest_execgo.runtime.keeper_client import KeeperClient

Launch = Callable[..., tuple["subprocess.Popen[bytes]", httpx.Client]]
PATIENCE = 60.0


class Service:
    """A runtime service on one data folder, that comes back under the same address as often as it is told to."""

    def __init__(self, launch: Launch, folder: Path, *options: str) -> None:
        self.folder = folder
        self._launch, self._options = launch, options
        self.port = PortReservation()  # nobody else gets it while the service is away
        self.address = f"127.0.0.1:{self.port.port}"
        self.process, self.client = self._start()

    def _start(self) -> tuple[subprocess.Popen[bytes], httpx.Client]:
        return self._launch("-data-dir", str(self.folder), "-addr", self.address, "-shared-port", *self._options)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def restart(self) -> None:
        self.client.close()
        self.process, self.client = self._start()

    def submit(self, text: str, **rest: Any) -> str:
        answer = self.client.post("/api/v1/tasks", json={"execution": {"kind": "script", "script": text}, **rest})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["handle_id"])

    def end_of(self, handle: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer: dict[str, Any] = self.client.get(f"/api/v1/tasks/{handle}?wait=20s").json()
            if answer["status"] in ("success", "failed", "cancelled"):
                return answer
        raise AssertionError(f"{handle} never ended")

    def keeper(self) -> int:
        return int(self.client.get("/api/v1/runtime/info").json()["keeper_pid"])

    def kept_records(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "commands").iterdir())


@pytest.fixture
def service(launch_runtime: Launch, tmp_path: Path) -> Iterator[Service]:
    made = Service(launch_runtime, tmp_path / "data", "-max-concurrency", "8", "-abandon-after", "30")
    yield made
    made.port.close()


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_keeper_is_reaped_at_once_where_nothing_tells_of_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As without Linux: no handles on processes, and no /proc that tells a zombie from what lives."""
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(process_identity, "_started", lambda pid: "" if process_identity._signalable(pid) else None)
    monkeypatch.setattr(keeper_client, "_STOP_TIMEOUT", 2 * PATIENCE)
    (tmp_path / "data").mkdir()
    client = KeeperClient(tmp_path / "data", abandon_after=30)
    client.launch()
    client.await_launch()
    before = time.monotonic()
    client.dismiss()
    assert time.monotonic() - before < PATIENCE
    assert client._process is not None
    assert client._process.returncode is not None


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def began(folder: Path, count: int) -> list[Path]:
    """The notes of so many commands, each written whole: a shell makes the file before it writes into it."""
    eventually(
        lambda: [path.read_text().endswith("\n") for path in folder.glob("*.began")] == [True] * count,
        f"{count} commands never began in {folder}",
    )
    return sorted(folder.glob("*.began"))


def appending(folder: Path, name: str, gate: str = "gate") -> str:
    """A command that notes its beginning, waits for a gate to open, notes its end."""
    return (
        f"echo $$ >> {folder}/{name}.began; while [ ! -e {folder}/{gate} ]; do sleep 0.02; done; "
        f"echo end >> {folder}/{name}.ended; echo '\"{name}\"'"
    )


def test_running_commands_outlive_a_killed_service_and_deliver_once(service: Service, tmp_path: Path) -> None:
    handles = {f"c{n}": service.submit(appending(tmp_path, f"c{n}"), task_id=f"task {n}") for n in range(8)}
    waiting = service.submit(appending(tmp_path, "late"))  # all eight slots are taken
    began(tmp_path, 8)
    keeper = service.keeper()
    service.kill()
    (tmp_path / "gate").touch()
    eventually(lambda: len(list(tmp_path.glob("*.ended"))) == 8, "the commands did not go on")
    service.restart()
    assert service.keeper() == keeper
    for name, handle in handles.items():
        answer = service.end_of(handle)
        assert (answer["status"], answer["output"]) == ("success", name)
        assert service.client.get(f"/api/v1/tasks/{handle}").json() == answer
    assert service.end_of(waiting)["output"] == "late"
    for name in (*handles, "late"):
        assert (tmp_path / f"{name}.began").read_text().count("\n") == 1
        assert (tmp_path / f"{name}.ended").read_text() == "end\n"
    eventually(lambda: service.kept_records() == [], "the keeper never let go of what was delivered")
    again = service.client.post("/api/v1/tasks", json={"task_id": "task 0", "execution": {"kind": "emit"}})
    assert again.status_code == 409
    assert again.json()["error"]["details"]["handle_id"] == handles["c0"]


def test_results_of_an_earlier_service_stay_and_never_change(service: Service) -> None:
    handle = service.submit("echo 1; echo oops >&2; exit 3")
    before = service.end_of(handle)
    events = service.client.get(f"/api/v1/tasks/{handle}/events").json()
    for _ in range(2):
        service.kill()
        service.restart()
        assert service.client.get(f"/api/v1/tasks/{handle}").json() == before
        assert service.client.get(f"/api/v1/tasks/{handle}/events").json() == events
    assert service.client.post(f"/api/v1/tasks/{handle}/kill").json() == before


def test_a_command_that_goes_on_can_be_killed_and_keeps_its_limit(service: Service, tmp_path: Path) -> None:
    to_kill = service.submit(appending(tmp_path, "a"))
    to_expire = service.submit(appending(tmp_path, "b"), limits={"wall_time_ms": 8000})
    pids = [int(path.read_text()) for path in began(tmp_path, 2)]
    service.kill()
    eventually(lambda: not alive(pids[1]), "the wall limit does not hold while the service is away")
    service.restart()
    assert service.end_of(to_expire)["error"]["code"] == "timeout"
    assert alive(pids[0])
    assert [path.read_text() for path in began(tmp_path, 2)] == [f"{pid}\n" for pid in pids]  # asked for twice, run once
    assert service.client.post(f"/api/v1/tasks/{to_kill}/kill").json()["status"] == "cancelled"
    assert not alive(pids[0])


def test_killing_in_a_loop_loses_nothing_and_runs_nothing_twice(service: Service, tmp_path: Path) -> None:
    accepted: dict[str, str] = {}
    over = threading.Event()
    numbers = itertools.count()

    def load() -> None:
        with httpx.Client(base_url=f"http://{service.address}", timeout=10, trust_env=False) as client:
            while not over.is_set():
                name = f"t{next(numbers)}"
                body = {"task_id": name, "execution": {"kind": "script", "script": f"echo {name} >> {tmp_path}/{name}; sleep 0.05"}}
                try:
                    answer = client.post("/api/v1/tasks", json=body)
                except httpx.HTTPError:
                    time.sleep(0.02)  # it is being killed; nobody knows what became of this one
                    continue
                if answer.status_code == 202:
                    accepted[name] = answer.json()["handle_id"]
                elif answer.status_code == 429:
                    time.sleep(0.02)

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        loads = [threads.submit(load) for _ in range(4)]
        try:
            for round_ in range(15):
                eventually(lambda: len(accepted) > 4 * round_, "nothing is accepted any more")  # noqa: B023 - called at once
                time.sleep(0.05 + 0.03 * (round_ % 5))  # the point of the loop: at ever other moments
                service.kill()
                service.restart()
        finally:
            over.set()
        for one in loads:
            one.result(PATIENCE)
    assert len(accepted) > 50
    for name, handle in accepted.items():
        answer = service.end_of(handle)
        assert answer["status"] == "success", (name, answer)
        assert (tmp_path / name).read_text() == f"{name}\n"
    twice = [path for path in tmp_path.glob("t*") if path.read_text().count("\n") > 1]
    assert twice == []


@pytest.mark.parametrize("victims", ["keeper", "guard", "both"])
def test_a_killed_keeper_takes_its_commands_along_and_that_is_said(service: Service, tmp_path: Path, victims: str) -> None:
    done = service.submit("echo 1")
    assert service.end_of(done)["output"] == 1
    text = f"setsid sleep 300 & echo $! > {tmp_path}/child; {appending(tmp_path, 'a')}"
    handle = service.submit(text)
    pid = int(began(tmp_path, 1)[0].read_text())
    child = int((tmp_path / "child").read_text())
    keeper = service.keeper()
    guard = parent_of(keeper)
    for victim in {"keeper": [keeper], "guard": [guard], "both": [guard, keeper]}[victims]:
        os.kill(victim, signal.SIGKILL)
    answer = service.end_of(handle)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "internal")
    assert "keeper" in answer["error"]["message"]
    assert answer["error"]["retryable"] is True
    eventually(lambda: not alive(pid) and not alive(child), "the commands outlived their keeper")
    assert (tmp_path / "a.began").read_text().count("\n") == 1
    assert service.end_of(service.submit("echo 2"))["output"] == 2
    assert service.keeper() != keeper


def test_what_a_keeper_that_stops_does_not_take_the_next_one_does(service: Service, tmp_path: Path) -> None:
    for round_ in range(3):
        running = [service.submit(appending(tmp_path, f"r{round_}{n}")) for n in range(7)]
        began(tmp_path, 7 * (round_ + 1))
        os.kill(service.keeper(), signal.SIGTERM)
        assert service.end_of(running[0])["error"]["retryable"] is True
        after = service.submit("echo 2")  # while the others are being ended
        assert service.end_of(after)["output"] == 2
        assert [service.end_of(handle)["status"] for handle in running] == ["failed"] * 7


@pytest.mark.parametrize("guarded", [True, False], ids=["guard lives", "guard killed"])
def test_with_service_and_keeper_killed_the_next_service_says_what_was_lost(
    service: Service, tmp_path: Path, guarded: bool
) -> None:
    handle = service.submit(f"setsid sleep 300 & echo $! > {tmp_path}/child; {appending(tmp_path, 'a')}")
    pids = [int(began(tmp_path, 1)[0].read_text()), int((tmp_path / "child").read_text())]
    keeper = service.keeper()
    guard = parent_of(keeper)
    for victim in (service.process.pid, *(() if guarded else (guard,)), keeper):
        os.kill(victim, signal.SIGKILL)
    service.process.wait(PATIENCE)
    if guarded:  # nobody has to come back for the commands to end
        eventually(lambda: not any(map(alive, (*pids, guard))), "the guard did not end the commands, or itself")
    service.restart()
    answer = service.end_of(handle)
    assert answer["error"]["code"] == "internal"
    assert not any(map(alive, pids))
    assert (tmp_path / "a.began").read_text().count("\n") == 1


def test_a_graceful_stop_leaves_nothing_running_and_keeps_what_waits(service: Service, tmp_path: Path) -> None:
    running = [service.submit(appending(tmp_path, f"r{n}")) for n in range(8)]
    waiting = service.submit(appending(tmp_path, "w"))
    pids = [int(path.read_text()) for path in began(tmp_path, 8)]
    keeper = service.keeper()
    guard = parent_of(keeper)
    service.process.terminate()
    assert service.process.wait(PATIENCE) == 0
    assert not any(map(alive, (*pids, keeper, guard)))
    assert service.kept_records() == []
    (tmp_path / "gate").touch()
    service.restart()
    assert [service.end_of(handle)["error"]["code"] for handle in running] == ["cancelled"] * 8
    assert service.end_of(waiting)["output"] == "w"


def test_an_abandoned_keeper_ends_its_commands_and_itself_and_says_so(launch_runtime: Launch, tmp_path: Path) -> None:
    service = Service(launch_runtime, tmp_path / "data", "-abandon-after", "0.5")
    handle = service.submit(appending(tmp_path, "a"))
    pid = int(began(tmp_path, 1)[0].read_text())
    keeper = service.keeper()
    guard = parent_of(keeper)
    service.kill()
    eventually(lambda: not any(map(alive, (pid, keeper, guard))), "the keeper stayed without a service")
    service.restart()
    answer = service.end_of(handle)
    assert answer["error"]["code"] == "internal"
    assert "no runtime service" in answer["error"]["message"]
    assert (tmp_path / "a.began").read_text().count("\n") == 1
    service.port.close()


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_a_damaged_database_is_moved_aside_and_said(service: Service, tmp_path: Path, damage: str) -> None:
    service.end_of(service.submit("echo 1"))
    running = service.submit(appending(tmp_path, "a"))
    pid = int(began(tmp_path, 1)[0].read_text())
    service.process.terminate() if damage == "cut" else service.kill()
    service.process.wait(PATIENCE)
    database = service.folder / "tasks.db"
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no database" * 1000)
    if damage == "overwritten":
        for journal in service.folder.glob("tasks.db-*"):
            journal.unlink()
    service.restart()
    (said,) = service.client.get("/api/v1/runtime/config").json()["data"]["moved_aside"]
    assert "tasks.db was damaged" in said
    assert list(service.folder.glob("tasks.db.damaged-*"))
    assert service.client.get(f"/api/v1/tasks/{running}").status_code == 404
    eventually(lambda: not alive(pid), "a command that no task stands for goes on")
    assert service.end_of(service.submit("echo 2"))["output"] == 2


def test_a_damaged_end_record_is_a_failure_that_says_so(service: Service, tmp_path: Path) -> None:
    handle = service.submit(appending(tmp_path, "a"))
    began(tmp_path, 1)
    service.kill()
    (tmp_path / "gate").touch()
    record = service.folder / "commands" / f"{handle}.end"
    eventually(record.exists, "the end was never recorded")
    record.write_bytes(record.read_bytes()[:-2] + b"XX")
    service.restart()
    answer = service.end_of(handle)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "internal")
    assert "damaged" in answer["error"]["message"]
    eventually(lambda: service.kept_records() == [], "the damaged record stayed")


def test_a_second_service_on_the_same_folder_is_one_clear_error(service: Service) -> None:
    argv = [sys.executable, "-m", "pytest_execgo.runtime", "-addr", "127.0.0.1:0", "-data-dir", str(service.folder)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert "in use by another runtime service" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert service.end_of(service.submit("echo 1"))["output"] == 1


def test_a_keeper_that_can_not_be_started_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data" / "keeper.lock").mkdir(parents=True)
    argv = [sys.executable, "-m", "pytest_execgo.runtime", "-addr", "127.0.0.1:0", "-data-dir", str(tmp_path / "data")]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode not in (0, None)
    assert "keeper.log" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "IsADirectoryError" in (tmp_path / "data" / "keeper.log").read_text()


def test_a_burst_of_submissions_never_stalls(service: Service) -> None:
    handles = [service.submit("echo 1") for _ in range(50)]
    assert [service.end_of(handle)["output"] for handle in handles] == [1] * 50
