"""Shows that runs get over every fault that they should get over: many seeds, all scenarios, and the same faults for the same seed.

Runs a sweep of all chaos profiles for each seed, and the first seed twice. Every cell must pass (or be skipped with a reason), no
history may show a broken promise, and both sweeps of the first seed must have had the same faults at the same events. Prints
a line a sweep, then what each profile came to.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

PATIENCE = 1800.0  # seconds that one sweep may take


@dataclass(slots=True)
class Tally:
    """What one profile came to over all seeds. Times in ms; `odd` holds what did not pass, a sentence each."""

    cells: int = 0
    hit: int = 0
    recovered: int = 0
    violations: int = 0
    recovery_ms: list[float] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    """Run the sweeps; return 1 when a cell did not pass, a promise was broken, or a seed gave other faults the second time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default 20)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--chaos", default="all", help="which profiles (default all)")
    parser.add_argument("pytest_args", nargs="*", help="arguments for pytest (default: one framework, two workers)")
    options = parser.parse_args(argv)
    arguments = options.pytest_args or ["--execgo-framework=langgraph", "-n", "2"]
    tallies: dict[str, Tally] = defaultdict(Tally)
    differences: list[str] = []
    failed = False
    for seed in range(options.first, options.first + options.seeds):
        faults = []
        for _ in range(2 if seed == options.first else 1):
            folder = Path(tempfile.mkdtemp(prefix="prove-recovery-"))
            code, seconds = sweep(folder, seed, options.chaos, arguments)
            rows = read(folder / "var/runs/benchmark-summary.json")["runs"] if code in (0, 1) else []
            count(rows, tallies, seed)
            faults.append({row["cell_id"]: faults_of(row) for row in rows})
            print(f"seed {seed}: exit code {code}, {len(rows)} cells in {seconds:.0f} s", flush=True)
            failed = failed or code != 0
            shutil.rmtree(folder, ignore_errors=True)
        if len(faults) == 2:
            differences = [
                f"{cell}: {faults[0].get(cell)} and {faults[1].get(cell)}"
                for cell in faults[0]
                if faults[0][cell] != faults[1].get(cell)
            ]
    show(tallies, differences)
    return 1 if failed or differences or any(tally.odd or tally.violations for tally in tallies.values()) else 0


def sweep(folder: Path, seed: int, chaos: str, arguments: Sequence[str]) -> tuple[int, float]:
    """Run one sweep; return pytest's exit code and the seconds that it took."""
    command = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider", f"--execgo-seed={seed}"]
    started = time.monotonic()
    with (folder / "output.log").open("wb") as log:
        finished = subprocess.run(
            [*command, f"--execgo-chaos={chaos}", *arguments], cwd=folder, stdout=log, stderr=log, timeout=PATIENCE, check=False
        )
    return finished.returncode, time.monotonic() - started


def count(rows: Sequence[dict[str, Any]], tallies: dict[str, Tally], seed: int) -> None:
    """Add a sweep's runs to the tallies of their profiles."""
    for row in rows:
        if row["outcome"] == "skipped":
            continue
        tally = tallies[row["chaos_profile"]]
        tally.cells += 1
        tally.hit += any(fault["hit"] for fault in row["faults"])
        metrics = row["metrics"]
        tally.recovered += metrics["recovery_success"] == 1.0
        if metrics["recovery_time_ms"] is not None:
            tally.recovery_ms.append(metrics["recovery_time_ms"])
        tally.violations += len((row["history"] or {}).get("violations", []))
        if row["outcome"] != "passed":
            why = row["error"] or (row["verdict"] or {}).get("reasons")
            tally.odd.append(f"seed {seed}, {row['scenario_id']}[{row['framework']}]: {row['outcome']}: {why}")


def faults_of(row: dict[str, Any]) -> list[Any]:
    """Return what struck in a run, and at which event: action, target, and the type and stage of the event."""
    path = Path(row["artifacts"]["run_dir"]) / "timeline.jsonl"
    if not row["artifacts"]["run_dir"] or not path.exists():
        return []
    events = [json.loads(line) for line in path.read_text().splitlines()]
    at = {event["seq"]: (event["event_type"], event.get("stage_id")) for event in events}
    found = []
    for event in events:
        if event["event_type"] in ("fault_injected", "fault_spared"):
            about = event["metadata"]
            found.append([event["event_type"], about["fault"], about["action"], about["target"], at.get(about.get("cause"))])
    return sorted(found, key=str)


def show(tallies: dict[str, Tally], differences: Sequence[str]) -> None:
    """Print a table of all profiles, and everything that is not as it should be."""
    print("\n| profile | cells | hit | recovered | median recovery ms | violations |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, tally in sorted(tallies.items()):
        time_ms = f"{median(tally.recovery_ms):.0f}" if tally.recovery_ms else ""
        print(f"| {name} | {tally.cells} | {tally.hit} | {tally.recovered} | {time_ms} | {tally.violations} |")
    total = sum(tally.cells for tally in tallies.values())
    odd = [line for tally in tallies.values() for line in tally.odd]
    print(f"\n{total} cells, {len(odd)} did not pass, {sum(tally.violations for tally in tallies.values())} broken promises")
    print(f"the first seed, twice: {len(differences)} cells had other faults, or the same at other events")
    for line in [*odd, *differences]:
        print(f"- {line}")


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
