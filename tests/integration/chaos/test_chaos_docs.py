"""What docs/chaos.md shows, works: its profiles, its tables, and its action in a project of a user's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.catalogue import targets_of
from pytest_execgo.chaos.loader import discover_profiles, load_profile, load_profile_file
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.chaos.trigger import EVENT_PHASES
from pytest_execgo.core.bundle import bundled

PAGE = (Path(__file__).parents[3] / "docs/chaos.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    table = re.findall(r"^\|.*\|$", PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0], re.M)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]


def test_its_first_profile_loads(tmp_path: Path) -> None:
    (tmp_path / "kernel_under_load.yaml").write_text(blocks("yaml")[0])
    assert [fault.action for fault in load_profile_file(tmp_path / "kernel_under_load.yaml").faults] == [
        "cpu_pressure",
        "pause",
        "kill",
    ]


def test_every_action_is_on_the_page_with_its_targets_and_parameters() -> None:
    told = {row[0].strip("`"): row for row in rows("Actions")}
    assert told.keys() == ACTIONS.keys()
    for name, action in ACTIONS.items():
        targets = set(LEGS) if told[name][1] == "a leg" else set(re.findall(r"`([^`]+)`", told[name][1]))
        assert targets == set(targets_of(action)), name
        model = getattr(action, "model", None)
        if model is not None:
            assert all(f"`{field}`" in told[name][2] for field in model.model_fields), name


def test_every_profile_is_on_the_page_with_what_is_expected() -> None:
    folders = [bundled("chaos")]
    told = {name: row[1] for row in rows("Built-in profiles") for name in re.findall(r"`([^`]+)`", row[0])}
    assert told.keys() == discover_profiles(folders).keys()
    words = {"not_applicable": "", "should_recover": "recovery", "expected_failure": "failure"}
    for name, expected in told.items():
        profile = load_profile(name, folders)
        assert expected.split(":")[0] == words[profile.recovery_expectation]
        assert all(code in expected for code in profile.expected_codes)


def test_every_event_is_on_the_page_in_its_phase() -> None:
    told = {event: row[0].strip("`") for row in rows("Triggers") for event in re.findall(r"`([a-z_]+)`", row[1].split(";")[0])}
    late = {"verdict_reached", "run_finished", "history_checked", "fault_spared"}
    assert told == {event: phase for event, phase in EVENT_PHASES.items() if event not in late}


def test_an_action_of_ones_own_is_injected(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(blocks("python")[0])
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos/noisy.yaml").write_text(blocks("yaml")[1])
    options = ["--execgo-matrix", "--execgo-scenario=codegen_exec", "--execgo-framework=langgraph", "--execgo-chaos=noisy"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "1 passed" in done.stdout, done.stdout
    (timeline,) = tmp_path.glob("var/runs/*/timeline.jsonl")
    events = [json.loads(line) for line in timeline.read_text().splitlines()]
    (lifted,) = [event for event in events if event["event_type"] == "fault_lifted"]
    assert lifted["metadata"]["observed"] == {"accepted": 20, "hit": True}


def test_what_is_wrong_with_it_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(blocks("python")[0])
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos/noisy.yaml").write_text(blocks("yaml")[1].replace("tasks: 20", "tasks: 0"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--execgo-matrix", "--execgo-chaos=noisy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "noisy.yaml:6: $.faults[0].parameters.tasks: needed, a number from 1" in done.stdout + done.stderr
