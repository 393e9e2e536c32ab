"""Commands and everything that they start, in a process that is a subreaper, as the services are, and in one that isn't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core import process_tree

ROOT = Path(process_tree.__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process trees are followed through /proc")

HARNESS = """
import asyncio, json, os, sys, time
from pytest_execgo.core.process import run_command
from pytest_execgo.core.process_tree import become_subreaper, processes
if sys.argv[1] == "reaper":
    become_subreaper()
def left():
    mine = os.getpid()
    table = processes()
    zombies = sum(p.zombie and p.parent == mine for p in table.values())
    live = 0
    for pid in table:
        try:
            live += sys.argv[2].encode() in open(f"/proc/{pid}/cmdline", "rb").read() and pid not in (mine, os.getppid())
        except OSError:
            pass
    return [live, zombies]
async def main():
    how, scripts = sys.argv[3], json.loads(sys.argv[4])
    answers = []
    for script in scripts:
        running = asyncio.ensure_future(run_command(["sh", "-c", script], timeout=0.3 if how == "timeout" else 60))
        if how == "cancel":
            await asyncio.sleep(0.3)
            running.cancel()
        begun = time.monotonic()
        try:
            survivors = (await running).survivors
        except asyncio.CancelledError:
            survivors = ()
        answers.append([script, list(survivors), *left(), time.monotonic() - begun])
    print(json.dumps(answers))
asyncio.run(main())
"""

SHAPES = {
    "child": "sleep {n} & sleep {n}",
    "own session": "setsid sleep {n} & sleep {n}",
    "double fork": "(setsid sh -c 'setsid sleep {n} & ' &) ; sleep {n}",
    "ignores TERM": "trap '' TERM; setsid sh -c \"trap '' TERM HUP; sleep {n}\" & sleep {n}",
    "stopped": "setsid sleep {n} & kill -STOP $!; sleep {n} & kill -STOP $!; kill -STOP $$",
    "no environment": "env -i setsid env -i sh -c 'env -i setsid sleep {n} & env -i sleep {n}' & sleep {n}",
    "pipe held": "setsid sleep {n} >&1 2>&2 & sleep {n}",
}
ENDED_BY_ITSELF = [
    "setsid sleep {n} & exit 0",
    "(setsid sh -c 'setsid sleep {n} & ' &) ; exit 0",
    "env -i setsid env -i sh -c 'env -i setsid sleep {n} & ' & wait",
    "for i in 1 2 3 4 5; do (sh -c 'setsid true &' &); done",
]


def run(role: str, how: str, scripts: list[str]) -> list[Any]:
    """Run scripts in a process of their own; return, for each: script, survivors, live, zombies, seconds."""
    unique = f"3{os.getpid()}.{os.urandom(3).hex().translate(str.maketrans('abcdef', '123456'))}"
    words = [sys.executable, "-c", HARNESS, role, unique, how]
    ended = subprocess.run(
        [*words, json.dumps([script.format(n=unique) for script in scripts])],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    answers: list[Any] = json.loads(ended.stdout)
    return answers


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("role", ["reaper", "plain"])
def test_nothing_of_any_tree_survives(role: str, how: str) -> None:
    for script, survivors, live, zombies, seconds in run(role, how, list(SHAPES.values())):
        assert (survivors, live, zombies) == ([], 0, 0), script
        assert seconds < 15, script


def test_what_a_command_leaves_behind_when_it_ends_by_itself_is_ended_by_a_reaper() -> None:
    for script, survivors, live, zombies, _ in run("reaper", "end", ENDED_BY_ITSELF):
        assert (survivors, live, zombies) == ([], 0, 0), script


SIBLINGS = """
import asyncio, os, sys
from pytest_execgo.core.process import run_command
from pytest_execgo.core.process_tree import become_subreaper
become_subreaper()
async def main():
    orphan = "echo > begun; while [ ! -e go ]; do sleep 0.05; done; echo orphan; echo > said"
    quiet = f"(setsid sh -c '{orphan}' &) ; env -i setsid env -i sleep 2 & while [ ! -e said ]; do sleep 0.05; done; echo parent"
    sibling = asyncio.ensure_future(run_command(["sh", "-c", quiet]))
    while not os.path.exists("begun"):
        await asyncio.sleep(0.01)
    for _ in range(5):
        ended = await run_command(["sh", "-c", "setsid sleep 300 & (env -i setsid sleep 300 &) ; sleep 300"], timeout=0.1)
        assert ended.timed_out and not ended.survivors
        await run_command(["true"])
    open("go", "w").close()
    outcome = await sibling
    assert (outcome.exit_code, sorted(outcome.stdout.split())) == (0, [b"orphan", b"parent"]), outcome
asyncio.run(main())
"""


def test_a_sibling_and_its_orphans_are_not_touched(tmp_path: Path) -> None:
    words, env = [sys.executable, "-c", SIBLINGS], {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_it_works_in_a_bare_interpreter_and_needs_the_standard_library_only() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import asyncio\n"
        "from pytest_execgo.core.process import run_command\n"
        "from pytest_execgo.core import process_tree\n"
        "assert asyncio.run(run_command(['echo', 'x'])).stdout == b'x\\n'\n"
        "import pytest_execgo.core.containment.ladder\n"
        "print(sorted(m for m in sys.modules if m.startswith(('pydantic', 'starlette', 'yaml'))))"
    )
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


COUNTED = """
import asyncio
from pytest_execgo.core import process_tree
from pytest_execgo.core.process import run_command
process_tree.become_subreaper()
scans = 0
real = process_tree.processes
def counting():
    global scans
    scans += 1
    return real()
process_tree.processes = counting
async def main():
    for _ in range(20):
        await run_command(["true"])
    assert scans == 0, scans
    await run_command(["sh", "-c", "setsid sleep 300 &"])
    assert scans > 0
asyncio.run(main())
"""


def test_a_command_that_leaves_nothing_pays_for_no_scan() -> None:
    ended = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


GRACE = """
import asyncio, signal
from pytest_execgo.core.process import run_command
async def main():
    polite = "trap 'echo bye; exit 7' TERM; sleep 300 & wait"
    ended = await run_command(["sh", "-c", polite], timeout=5, grace=20)  # the shell has to set its trap before
    assert (ended.exit_code, ended.stdout, ended.timed_out) == (7, b"bye\\n", True), ended
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which commands inherit
    ended = await run_command(["sleep", "300"], timeout=0.3, grace=0.3)
    assert (ended.signal, ended.survivors) == (9, ()), ended
asyncio.run(main())
"""


def test_a_grace_lets_a_command_end_by_itself() -> None:
    ended = subprocess.run([sys.executable, "-c", GRACE], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
