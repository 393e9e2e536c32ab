"""Shows that a sweep survives its own death: kills pytest at random moments, resumes, and checks what came of it.

Each round runs a sweep, ends pytest and its workers by SIGKILL after a random time (more than once), and lets
`--execgo-resume` finish it. Then every cell must have been judged exactly once, no finished cell may have run again, no effect
may have been applied twice, every history must be valid, and no process may be left. Prints a line a round, and a summary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 300.0  # seconds that one command may take


@dataclass(slots=True)
class Round:
    """What one sweep went through. `problems` are broken promises, a sentence each."""

    kills: int = 0
    resumed_runs: int = 0
    finished_before: int = 0
    problems: list[str] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    """Run the rounds; return 1 when any promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often pytest is killed, at least (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments (default 1)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds with problems")
    parser.add_argument("pytest_args", nargs="*", help="arguments for pytest (default: all built-in cells on two workers)")
    options = parser.parse_args(argv)
    draw = random.Random(options.seed)  # noqa: S311 - repeatable on purpose
    rounds: list[Round] = []
    while sum(one.kills for one in rounds) < options.kills:
        folder = Path(tempfile.mkdtemp(prefix="prove-resume-"))
        rounds.append(run_round(folder, options.pytest_args or ["-n", "2"], draw))
        one = rounds[-1]
        said = "; ".join(one.problems) or "good"
        print(f"round {len(rounds)}: {one.kills} kills, {one.finished_before} cells finished before, {said}", flush=True)
        if one.problems and options.keep:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    problems = sum(len(one.problems) for one in rounds)
    resumed = sum(one.resumed_runs for one in rounds)
    print(
        f"{len(rounds)} sweeps, {sum(one.kills for one in rounds)} kills of pytest, {resumed} runs went on from a checkpoint, "
        f"{problems} broken promises"
    )
    return 1 if problems else 0


def run_round(folder: Path, arguments: Sequence[str], draw: random.Random) -> Round:
    """Take one sweep through its deaths and check it."""
    one = Round()
    command = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider", *arguments]
    finished: dict[str, str] = {}
    while True:
        resume = ["--execgo-resume"] if one.kills else []
        kill_after = draw.uniform(1.5, 6.0) if one.kills < 3 else None
        code, output = run(folder, [*command, *resume], kill_after)
        problems = compare(finished, found := results(folder), one.kills)
        one.problems += problems
        finished = found
        if code is not None:
            break
        one.kills += 1
        one.finished_before = len(finished)
        wait_until_gone(folder, one)
        if sweep_is_over(folder):  # it was killed after its last word: there is nothing to go on with
            code, output = 0, ""
            break
    if code != 0:
        one.problems.append(f"the last command ended with {code}: {output[-500:]}")
    one.problems += check(folder)
    one.resumed_runs = sum(read(path)["resumed"] > 0 for path in folder.glob("var/runs/*/result.json"))
    return one


def run(folder: Path, command: Sequence[str], kill_after: float | None) -> tuple[int | None, str]:
    """Run pytest, and kill it after a while; return its exit code (None: it was killed) and what it wrote."""
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)
        try:
            code: int | None = process.wait(kill_after if kill_after is not None else PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its xdist workers, too, which would go on to the end of their cells
            process.wait()
            code = None
    return code, log.read_text(errors="replace")


def sweep_is_over(folder: Path) -> bool:
    """Tell whether the sweep has written down that nothing of it is left to do, and its summary."""
    over = [read(path)["finished_at"] is not None for path in folder.glob("var/runs/sweeps/*/sweep.json")]
    return bool(over) and all(over) and (folder / "var/runs/benchmark-summary.json").exists()


def wait_until_gone(folder: Path, one: Round) -> None:
    """Wait until nothing of a killed sweep is there any more."""
    deadline = time.monotonic() + 30
    while left := processes_in(folder):
        if time.monotonic() > deadline:
            one.problems.append(f"processes are left: {left}")
            return
        time.sleep(0.02)


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder or name it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (
                int(place.name) != os.getpid()
                and command
                and (str(folder) in command or str(folder) in str(place.joinpath("cwd").readlink()))
            ):
                found.append(command[:100])
        except OSError:
            continue
    return found


def results(folder: Path) -> dict[str, str]:
    """Return the run ids of finished cells by cell id."""
    return {row["cell_id"]: row["run_id"] for row in map(read, folder.glob("var/runs/*/result.json"))}


def compare(before: dict[str, str], after: dict[str, str], kills: int) -> list[str]:
    """Return where a cell that was finished has another run now."""
    return [
        f"cell {cell} was finished by run {run} and ran again as {after.get(cell)} (kill {kills})"
        for cell, run in before.items()
        if after.get(cell) != run
    ]


def check(folder: Path) -> list[str]:
    """Return which promises the finished sweep has broken."""
    summary = read(folder / "var/runs/benchmark-summary.json")
    rows = summary["runs"]
    problems = []
    counted = Counter(row["cell_id"] for row in rows)
    problems += [f"cell {cell} was judged {count} times" for cell, count in counted.items() if count != 1]
    judged = Counter(read(path)["cell_id"] for path in folder.glob("var/runs/*/result.json"))
    problems += [f"cell {cell} has {count} results" for cell, count in judged.items() if count != 1]
    if summary["planned"] is not None and summary["planned"] != len(rows):
        problems.append(f"{summary['planned']} cells were planned, {len(rows)} judged")
    for row in rows:
        if row["outcome"] != "passed":
            problems.append(f"{row['run_id']} {row['outcome']}: {row['error'] or (row['verdict'] or {}).get('reasons')}")
        if row["history"] is None or row["history"]["outcome"] != "valid":
            problems.append(f"{row['run_id']}: its history is {row['history']}")
    left = processes_in(folder)
    return problems + ([f"processes are left: {left}"] if left else [])


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
