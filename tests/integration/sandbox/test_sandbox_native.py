"""Mode native: which rung runs, what it refuses, by what it holds, what is left of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.containment import control_groups, syscall_filter
from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand, Mount
from pytest_execgo.sandbox import rungs
from pytest_execgo.sandbox.native import RUNGS, NativeConfinement

MIB = 1 << 20
Make = Callable[..., ConfinedCommand]


@pytest.fixture
def command(tmp_path: Path) -> Make:
    """Make a command that runs a piece of Python."""

    def make(code: str = "print('ran')", **changes: Any) -> ConfinedCommand:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        (work / "main.py").write_text(code)
        fields: dict[str, Any] = {
            "argv": ("python3", "main.py"),
            "cwd": "/work",
            "timeout": 120,
            "memory_bytes": 256 * MIB,
            "cpu_cores": 1,
            "disk_bytes": 16 * MIB,
            "processes": 32,
            "output_bytes": MIB,
            "work": work,
        }
        return ConfinedCommand(**{**fields, **changes})

    return make


@pytest.fixture
def native() -> NativeConfinement:
    confinement = NativeConfinement(enabled=True)
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    return confinement


def test_it_has_to_be_enabled(command: Make) -> None:
    confinement = NativeConfinement()
    assert "has to be enabled" in str(confinement.problem())
    with pytest.raises(SandboxError) as caught:
        confinement.run(command())
    assert caught.value.code == "native_not_enabled"
    assert "NativeConfinement(enabled=True)" in caught.value.hint


def test_there_is_no_rung_without_isolation() -> None:
    assert Rung.PLAIN not in RUNGS


def test_it_tells_which_rung_ran_and_by_what_it_holds(native: NativeConfinement, command: Make) -> None:
    fresh = NativeConfinement(enabled=True)
    assert fresh.isolation == {}
    assert fresh.run(command()).stdout == b"ran\n"
    told = fresh.isolation
    assert told["rung"] in ("bubblewrap", "namespace", "landlock")
    assert told["network"] == "none"
    assert told["user"] != 0
    groups = {name for hierarchy in control_groups.probe("test", controllers=("pids", "memory", "cpu")) for name in hierarchy.files}
    assert told["memory"] == ("control group" if "memory" in groups else "rlimit, each process")
    assert told["processes"] == ("control group" if "pids" in groups else "rlimit")


def test_a_rung_that_is_not_there_is_passed_over_and_told(command: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "bwrap" else which(name, **more))
    confinement = NativeConfinement(enabled=True)
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    assert confinement.run(command()).stdout == b"ran\n"
    assert confinement.isolation["rung"] != "bubblewrap"
    assert confinement.isolation["passed_over"]["bubblewrap"] == "bwrap is not installed"


def test_without_any_rung_it_refuses_and_says_what_to_install(command: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "bwrap" else which(name, **more))
    confinement = NativeConfinement(enabled=True, rungs=(Rung.BUBBLEWRAP,))
    with pytest.raises(SandboxError) as caught:
        confinement.run(command("open('/tmp/never-run', 'w')"))
    assert "bubblewrap: bwrap is not installed" in str(caught.value)
    assert "install bubblewrap" in caught.value.hint
    assert "bwrap is not installed" in str(confinement.problem())


def test_a_machine_whose_system_calls_are_not_known_is_refused(command: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall_filter, "known_machine", lambda: False)
    with pytest.raises(SandboxError, match="needs Linux on x86_64 or aarch64"):
        NativeConfinement(enabled=True).run(command())


def test_what_is_not_as_promised_does_not_run(command: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command's process looks around before it begins: here something of the host is shown to it by mistake."""
    confinement = NativeConfinement(enabled=True, rungs=(Rung.BUBBLEWRAP,))
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    start = rungs.Start

    def careless(words: list[str], *rest: Any) -> rungs.Start:
        return start([*words[:1], "--bind", str(tmp_path), "/leak", *words[1:]], *rest)

    monkeypatch.setattr(rungs, "Start", careless)
    with pytest.raises(SandboxError, match="it would see /leak of the host"):
        confinement.run(command("open('/leak/witness', 'w')"))
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ((Mount(Path("/nonexistent"), "/data"),), "does not exist"),
        ((Mount(Path("/usr/share"), "/usr/share"),), "the sandbox's own"),
        ((Mount(Path("/usr/share"), "/etc"),), "the sandbox's own"),
        ((Mount(Path("/usr/share"), "/proc/x"),), "the sandbox's own"),
        ((Mount(Path("/usr/share"), "/"),), "the sandbox's own"),
        ((Mount(Path("/usr/share"), "/tmp"),), "nothing can be mounted"),
        ((Mount(Path("/usr/share"), "/data/../etc"),), "nothing can be mounted"),
        ((Mount(Path("/usr/share"), "data"),), "nothing can be mounted"),
        ((Mount(Path("/usr/share"), "/work/inside"),), "overlap"),
        ((Mount(Path("/usr/share"), "/a"), Mount(Path("/usr/share"), "/a/b")), "overlap"),
    ],
)
def test_a_folder_that_cant_be_shown_is_refused(command: Make, mounts: tuple[Mount, ...], words: str) -> None:
    with pytest.raises(SandboxError, match=words):
        NativeConfinement(enabled=True).run(command(mounts=mounts))


def test_a_working_folder_has_to_be_somewhere(command: Make) -> None:
    with pytest.raises(SandboxError, match="in no folder that is mounted"):
        NativeConfinement(enabled=True).run(command(work=None, cwd="/elsewhere"))


@pytest.mark.parametrize("changes", [{"argv": ()}, {"cwd": "work"}])
def test_a_command_has_a_program_and_an_absolute_folder(command: Make, changes: dict[str, Any]) -> None:
    with pytest.raises(SandboxError, match="needs a program"):
        NativeConfinement(enabled=True).run(command(**changes))


def test_what_cant_be_copied_is_refused(native: NativeConfinement, command: Make, tmp_path: Path) -> None:
    made = command()
    os.mkfifo(tmp_path / "work/fifo")
    with pytest.raises(SandboxError, match="neither a file nor a folder"):
        native.run(made)


def test_more_files_than_there_is_room_for_are_refused(native: NativeConfinement, command: Make, tmp_path: Path) -> None:
    made = command(disk_bytes=MIB)
    (tmp_path / "work/big").write_bytes(b"x" * 3 * MIB)
    with pytest.raises(SandboxError, match=r"No space left on device|its files have"):
        native.run(made)


def test_no_control_group_stays(native: NativeConfinement, command: Make) -> None:
    hierarchies = control_groups.probe("test")
    if not hierarchies:
        pytest.skip("no control groups can be made here")
    native.run(command("import os\nfor _ in range(5): os.fork()"))
    left = [folder.name for one in hierarchies for folder in one.folder.glob(f"execgo-sandbox-{os.getpid()}-*")]
    assert left == []


def test_control_groups_of_a_killed_process_are_removed(native: NativeConfinement) -> None:
    hierarchies = control_groups.probe("test")
    if not hierarchies:
        pytest.skip("no control groups can be made here")
    gone, ours = "execgo-sandbox-4194304999-1", f"execgo-sandbox-{os.getpid()}-999999"
    for name in (gone, ours):
        (hierarchies[0].folder / name).mkdir()
    try:
        native.cleanup()
        assert not (hierarchies[0].folder / gone).exists()
        assert (hierarchies[0].folder / ours).exists()
    finally:
        (hierarchies[0].folder / ours).rmdir()


@pytest.mark.parametrize("here", [True, False])
def test_what_a_killed_process_left_in_a_control_group_ends(native: NativeConfinement, here: bool) -> None:
    hierarchies = control_groups.probe("test")
    if not hierarchies:
        pytest.skip("no control groups can be made here")
    namespace = Path("/proc/self/ns/pid").stat().st_ino if here else 1  # elsewhere that pid may well be somebody's
    child = subprocess.Popen(["sleep", "300"])
    for _ in range(100):
        group = control_groups.make(hierarchies, f"execgo-sandbox-4194304999-{namespace}-1", 16, 64 * MIB)
        with contextlib.suppress(FileNotFoundError):  # somebody else cleans up, too, and took the empty group away
            group.join(child.pid)
            break
    try:
        native.cleanup()
        assert [Path(path).exists() for path in group.paths()] == [not here] * len(group.paths())
        assert (child.poll() is None) is not here
    finally:
        group.remove(60)
        assert child.wait(60) == -signal.SIGKILL
    assert not any(Path(path).exists() for path in group.paths())


def test_processor_time_is_bounded(native: NativeConfinement, command: Make) -> None:
    busy = """
import os, time
children = []
for _ in range(3):
    if (pid := os.fork()) == 0:
        while True: pass
time.sleep(2)
import resource, signal
os.killpg(0, signal.SIGKILL)
"""
    slow = native.run(command(busy, cpu_cores=0.25))
    assert slow.exit_code == -9
    if native.isolation["cpu"] != "control group":
        pytest.skip("a share of one core is bounded by a control group only")
    used = native.run(
        command(
            "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())",
            cpu_cores=0.25,
        )
    )
    assert float(used.stdout) < 1.2


def test_without_control_groups_it_keeps_to_whole_cores(command: Make) -> None:
    confinement = NativeConfinement(enabled=True, groups=False)
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    code = """
import os
print(len(os.sched_getaffinity(0)))
try:
    os.sched_setaffinity(0, range(os.cpu_count()))
    print(len(os.sched_getaffinity(0)))
except OSError:
    print("refused")
"""
    assert confinement.run(command(code, cpu_cores=0.5)).stdout.split() == [b"1", b"refused"]


def test_the_folder_of_a_folder_for_temporary_files_can_be_mounted(
    native: NativeConfinement, command: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "here").write_text("as it is")
    mounts = (Mount(folder, str(folder)),)
    end = native.run(command(f"print(open({str(folder / 'here')!r}).read())", mounts=mounts))
    assert end.stdout == b"as it is\n", end


def test_root_s_files_in_a_writable_folder_belong_to_the_command_and_stay_root_s(command: Make, tmp_path: Path) -> None:
    confinement = NativeConfinement(enabled=True, rungs=(Rung.BUBBLEWRAP, Rung.NAMESPACE))
    if os.geteuid() != 0 or confinement.problem() is not None:
        pytest.skip("only root becomes somebody else")
    folder = tmp_path / "shared"
    folder.mkdir(0o700)
    (folder / "mine").write_text("1")
    (folder / "mine").chmod(0o600)
    code = """
import os
print(os.stat("/data/mine").st_uid == os.getuid() != 0)
open("/data/mine", "w").write("2")
os.mkdir("/data/d")
"""
    end = confinement.run(command(code, mounts=(Mount(folder, "/data", writable=True),)))
    assert end.stdout == b"True\n", end
    assert (folder / "mine").read_text() == "2"
    assert {path.stat().st_uid for path in folder.iterdir()} == {0}


def test_a_tree_deeper_than_paths_can_be_is_removed(command: Make, open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confinement = NativeConfinement(enabled=True, rungs=(Rung.LANDLOCK,))
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d' * 50)\n    os.chdir('d' * 50)\nos.mkdir('closed', 0)"
    monkeypatch.setattr("tempfile.tempdir", str(open_path))  # where nobody else leaves anything
    made = command(deep, disk_bytes=64 * MIB)
    before = sorted(open_path.iterdir())
    assert confinement.run(made).limit == "disk"  # it is deeper than anybody looks
    assert sorted(open_path.iterdir()) == before


def test_threads_share_one_confinement(native: NativeConfinement, command: Make) -> None:
    made = command("import time; time.sleep(0.1); print('ran')")
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(native.run(made).stdout)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"ran\n"] * 8


def test_landlock_refuses_a_folder_of_root_s(command: Make, tmp_path: Path) -> None:
    """It can't show it as another user's, and the command is another user."""
    confinement = NativeConfinement(enabled=True, rungs=(Rung.LANDLOCK,))
    if os.geteuid() != 0 or confinement.problem() is not None:
        pytest.skip("only root becomes somebody else")
    folder = tmp_path / "closed"
    folder.mkdir(0o700)
    with pytest.raises(SandboxError, match="can't be read by user"):
        confinement.run(command(mounts=(Mount(folder, str(folder)),)))
