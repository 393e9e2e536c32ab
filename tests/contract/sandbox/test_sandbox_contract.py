"""What every mode of sandbox does for a command, the same in each."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedEnd, Mount

MIB = 1 << 20


def text(end: ConfinedEnd) -> str:
    assert end.exit_code == 0, end
    return end.stdout.decode()


def test_a_command_runs_in_its_folder_with_its_files(box: Any) -> None:
    code = "import os; print(open('data/input.txt').read(), sorted(os.listdir('.')))"
    end = box.run(code, files={"data/input.txt": "forty-two"})
    assert text(end) == "forty-two ['data', 'main.py']\n"
    assert (end.limit, end.truncated, end.stderr) == (None, False, b"")
    assert 0 < end.duration < 120


def test_it_may_write_there_and_the_hosts_folder_stays_as_it_was(box: Any) -> None:
    command = box.command("open('main.py', 'w').write('x'); open('more', 'w').write('y'); print(open('more').read())")
    before = {path.name: path.read_text() for path in command.work.iterdir()}
    assert text(box.confinement.run(command)) == "y\n"
    assert {path.name: path.read_text() for path in command.work.iterdir()} == before


def test_it_has_a_folder_for_temporary_files(box: Any) -> None:
    assert text(box.run("import tempfile; print(tempfile.NamedTemporaryFile('w').write('abc'))")) == "3\n"


def test_it_gets_its_input_and_its_arguments(box: Any) -> None:
    code = "import sys; print(sys.argv[1:], len(sys.stdin.buffer.read()))"
    assert text(box.run(code, "a b", "ü*", "--x", stdin=b"\0" * (3 * MIB))) == "['a b', 'ü*', '--x'] 3145728\n"


def test_input_that_is_not_taken_is_no_matter(box: Any) -> None:
    assert text(box.run("print('done')", stdin=b"x" * (3 * MIB))) == "done\n"


def test_its_environment_is_what_it_was_given(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_OF_THE_CALLER", "sings")
    seen = json.loads(
        text(box.run("import json, os; print(json.dumps(dict(os.environ)))", env={"GIVEN": "a=b c", "TMPDIR": "/tmp"}))
    )
    assert seen["GIVEN"] == "a=b c"
    assert not {"CANARY_OF_THE_CALLER", "PYTHONPATH", "PYTEST_CURRENT_TEST"} & seen.keys()


@pytest.mark.parametrize("code", [1, 3, 255])
def test_an_exit_code_is_told(box: Any, code: int) -> None:
    end = box.run(f"import sys; print('out'); sys.stderr.write('err'); sys.exit({code})")
    assert (end.exit_code, end.stdout, end.stderr, end.limit) == (code, b"out\n", b"err", None)


def test_a_signal_is_told(box: Any) -> None:
    box.needs("signal")
    end = box.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (end.exit_code, end.limit) == (-signal.SIGKILL, None)


def test_output_is_bounded_while_it_flows(box: Any) -> None:
    flood = """
import sys
for stream in (sys.stdout, sys.stderr):
    stream.write("begin")
    for _ in range(64):
        stream.write("x" * 1_000_000)
    stream.write("end")
"""
    end = box.run(flood, output_bytes=10_000)
    assert end.exit_code == 0
    assert end.truncated
    for stream in (end.stdout, end.stderr):
        assert len(stream) <= 10_000
        assert stream.startswith(b"begin")
    assert end.limit is None


def test_output_that_fits_is_whole(box: Any) -> None:
    end = box.run("import sys; sys.stdout.buffer.write(bytes(range(256)) * 40)", output_bytes=10_240)
    assert (end.stdout, end.truncated) == (bytes(range(256)) * 40, False)


def test_its_time_is_bounded(box: Any) -> None:
    end = box.run("import time; print('begun', flush=True); time.sleep(600)", timeout=5)
    assert (end.limit, end.stdout, end.exit_code) == ("timeout", b"begun\n", -signal.SIGKILL)
    assert 5 <= end.duration < 60


def test_a_folder_is_mounted_for_reading(box: Any) -> None:
    box.needs("mount")
    folder = box.shared("data")
    (folder / "input").write_text("kept")
    target = box.target(folder, "data")
    code = """
import os, sys
old, new = f"{sys.argv[1]}/input", f"{sys.argv[1]}/new"
print(open(old).read())
for change in (lambda: open(old, "w"), lambda: open(new, "w"), lambda: os.remove(old)):
    try:
        change()
        print("changed")
    except OSError:
        print("refused")
"""
    end = box.run(code, target, mounts=(Mount(folder, target),))
    assert text(end).split() == ["kept", "refused", "refused", "refused"]
    assert [path.name for path in folder.iterdir()] == ["input"]
    assert (folder / "input").read_text() == "kept"


def test_a_folder_is_mounted_for_writing_and_keeps_what_was_written(box: Any) -> None:
    box.needs("mount_for_writing")
    folder = box.shared("results")
    target = box.target(folder, "results")
    end = box.run(
        "import sys; open(f'{sys.argv[1]}/out', 'w').write('made')", target, mounts=(Mount(folder, target, writable=True),)
    )
    assert text(end) == ""
    assert (folder / "out").read_text() == "made"
    assert (folder / "out").stat().st_uid == folder.stat().st_uid


def test_it_can_work_in_a_mounted_folder(box: Any) -> None:
    box.needs("mount_for_writing")
    folder = box.shared("project")
    (folder / "main.py").write_text("open('out', 'w').write('here')")
    target = box.target(folder, "project")
    command = box.command("", work=None, cwd=target, mounts=(Mount(folder, target, writable=True),))
    assert text(box.confinement.run(command)) == ""
    assert (folder / "out").read_text() == "here"


def test_a_program_that_is_not_there_is_no_result(box: Any) -> None:
    with pytest.raises(SandboxError) as caught:
        box.run("", argv=("no-such-program", "--version"))
    assert "no-such-program" in str(caught.value)


def test_many_run_at_once(box: Any) -> None:
    ends: dict[int, ConfinedEnd] = {}

    def run(number: int) -> None:
        ends[number] = box.run("import sys, time; time.sleep(0.2); print(sys.argv[1])", number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: text(end) for number, end in ends.items()} == {number: f"{number}\n" for number in range(6)}


def test_time_begins_when_the_command_does(box: Any) -> None:
    started = time.monotonic()
    end = box.run("print('quick')")
    assert end.duration <= time.monotonic() - started


def test_it_can_be_had_and_says_so(box: Any) -> None:
    assert box.confinement.problem() is None
    assert box.confinement.mode in ("native", "docker", "wasm")
    box.confinement.cleanup()
    box.confinement.cleanup()
    assert text(box.run("print('still there')")) == "still there\n"


def test_nothing_of_ours_is_left_among_the_temporary_files(box: Any, open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(open_path))
    monkeypatch.setattr("tempfile.tempdir", str(open_path))
    open_path.chmod(0o777)
    assert text(box.run("open('left', 'w').write('x'); print('run')")) == "run\n"
    assert list(open_path.iterdir()) == []
