"""Why something did not pass, in a real browser: first on the overview, in its own lines on the cell's page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.verdict import Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

Building = Any  # of this folder's conftest, as the others are
Report = Any
Watched = Any

TRACE = [f'  File "<b>part_{number}</b>.py", line {number}' for number in range(60)]
SAID = "\n".join(["the program failed:", *TRACE, "AssertionError: 3 notices, not 1"])


def reason(number: int) -> str:
    return f"reason {chr(97 + number)}: <i>odd</i>" if number % 2 else SAID.replace("3 notices", f"{number + 3} notices")


def varied(report: Report, count: int) -> Any:
    """Return the sweep's summary with its failed run `count` times: every second one has a reason of its own, others a number."""
    template = report.run("langgraph", "none")
    runs = [
        template.model_copy(
            update={
                "run_id": f"run-{number}",
                "cell_id": f"{number:016x}",
                "repetition": number,
                "verdict": Verdict(passed=False, reasons=[reason(number)]),
            }
        )
        for number in range(count)
    ]
    span: dict[str, Any] = {"started_at": template.started_at, "finished_at": template.finished_at, "wall_time_ms": 1.0}
    return summarise(runs, sweep_id="varied", **span)


def copied(report: Report, out: Path) -> Path:
    """Copy the sweep; return the folder of the failed run."""
    shutil.copytree(report.file.parent, out)
    folder: Path = out / report.run("langgraph", "none").run_id
    return folder


def opened(watched: Watched, built: Building, report: Report, out: Path, **values: Any) -> Page:
    """Open the page of the failed run, whose result is changed."""
    run = report.run("langgraph", "none")
    runs = [one.model_copy(update=values) if one is run else one for one in report.summary.runs]
    written = built(report.summary.model_copy(update={"runs": runs}), out)
    page: Page = watched.open(written.file, report.cell("langgraph", "none"))
    page.wait_for_selector("#verdict")
    return page


def test_what_did_not_pass_stands_right_beneath_the_headline(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    assert page.locator(".hero + section").get_attribute("id") == "failures"
    items = page.locator("#failures .failures > li")
    told = items.first.inner_text()
    assert "2 cells" in told
    assert "kernel: history_zombie_writer" in told
    assert "had ended when its effect reminder was applied" in told
    assert items.count() == 1
    items.locator(".cells a").last.click()
    page.wait_for_selector("#cell-title")
    assert page.locator("#cell-title").inner_text() == "relay langgraph · replay · runtime_restart"


def test_the_most_frequent_reason_comes_first_and_what_is_much_is_folded(watched: Watched, report: Report, built: Building) -> None:
    page = watched.open(built(varied(report, 24)).file)
    first = page.locator("#failures > ul > li")
    assert first.count() == 5
    assert "12 cells" in first.first.inner_text()
    because = first.first.locator(".because").inner_text()
    assert because.startswith("the program failed: ⏎ File ")
    assert because.endswith("AssertionError: 3 notices, not 1")
    assert first.first.locator("a").count() == 4
    first.first.locator("summary").click()
    watched.until(page, "document.querySelectorAll('#failures > ul > li:first-child a').length === 12")
    more = page.locator("#failures > details")
    assert more.locator("summary").first.inner_text() == "8 more reasons"
    more.locator("summary").first.click()
    watched.until(page, "document.querySelectorAll('#failures .failures > li').length === 13")
    assert page.locator("#failures i").count() == 0
    watched.shot(page, "failures-1280-light-en")


def test_without_failures_there_is_no_such_part(watched: Watched, report: Report, built: Building) -> None:
    runs = [run for run in report.summary.runs if run.outcome in ("passed", "skipped")]
    span = {"started_at": report.summary.started_at, "finished_at": report.summary.finished_at, "wall_time_ms": 1.0}
    page = watched.open(built(summarise(runs, sweep_id="some", **span)).file)
    assert page.locator("#matrix").count() == 1
    assert page.locator("#failures").count() == 0


def test_printing_shows_every_reason_and_every_cell(watched: Watched, report: Report, built: Building) -> None:
    page = watched.open(built(varied(report, 24)).file)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#failures .failures > li").count() == 13
    assert page.locator("#failures a").count() == 24


def test_a_reason_of_many_lines_keeps_them_and_its_end_is_seen(
    watched: Watched, report: Report, built: Building, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    copied(report, out)
    page = opened(watched, built, report, out, verdict=Verdict(passed=False, reasons=[SAID, "one line"]))
    pre = page.locator("#verdict .reasons pre")
    lines = pre.inner_text().split("\n")
    assert lines[0] == "the program failed:"
    assert lines[1] == TRACE[0]
    assert lines[-1] == "AssertionError: 3 notices, not 1"
    assert pre.evaluate("node => node.scrollHeight <= node.clientHeight")
    assert pre.locator("button").inner_text() == "44 more lines"
    watched.shot(page, "why-1280-light-en")
    pre.locator("button").click()
    assert pre.inner_text() == SAID
    assert page.locator("#verdict .reasons > li").last.inner_text() == "one line"


def test_a_failed_task_says_all_that_it_said_in_its_panel_and_both_ends_in_tables(
    watched: Watched, report: Report, built: Building, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    timeline = copied(report, out) / "timeline.jsonl"
    rows = [json.loads(line) for line in timeline.read_text("utf-8").splitlines()]
    for row in rows:
        if row["event_type"] == "task_observed" and row["task_id"] == "draft":
            row.update(status="failed", metadata={**row["metadata"], "error": SAID})
    timeline.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    page = opened(watched, built, report, out)
    page.locator(".graph .task").first.focus()
    page.keyboard.press("Enter")
    told = page.locator("#plan .told .said")
    assert told.inner_text().startswith("Said")
    assert told.locator("pre").inner_text().split("\n")[-1] == "AssertionError: 3 notices, not 1"
    page.locator("#events > summary").click()
    page.wait_for_selector("#events tbody tr")
    said = page.locator("#events td", has_text="the program failed").first.inner_text()
    assert "\n" not in said
    assert " … " in said
    assert said.endswith(" ⏎ AssertionError: 3 notices, not 1")
    assert page.locator("main b", has_text="part_").count() == 0


def test_the_workspace_and_the_checkpoints_are_linked(watched: Watched, report: Report, built: Building, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    folder = copied(report, out)
    (folder / "workspace").mkdir()
    (folder / "checkpoints.sqlite").write_bytes(b"")
    page = opened(watched, built, report, out)
    links = page.locator("#artifacts a").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    assert f"./{folder.name}/workspace/" in links
    assert f"./{folder.name}/checkpoints.sqlite" in links
    assert page.locator("#artifacts li", has_text="workspace/").inner_text().endswith("and the verifier judges")


@pytest.mark.parametrize(
    ("sandbox", "card", "note"),
    [
        (None, "Sandbox\nnone\nthe scenario asks for none", None),
        (SandboxUse(requested="native", effective="native"), "Sandbox\nnative", None),
        (SandboxUse(requested="docker", reason="no <b>engine"), "Sandbox\nnone\ndocker could not be had", ": no <b>engine"),
    ],
)
def test_where_commands_ran_is_among_the_facts(
    watched: Watched, report: Report, built: Building, tmp_path: Path, sandbox: SandboxUse | None, card: str, note: str | None
) -> None:
    page = opened(watched, built, report, tmp_path, sandbox=sandbox)
    assert page.locator("#sandbox").inner_text() == card
    notes = page.locator(".notes").all_inner_texts()
    assert len(notes) == (note is not None)
    assert note is None or notes[0].endswith(note)


def test_the_timeline_begins_with_the_run_and_the_boot_before_it_is_reached(
    watched: Watched, report: Report, built: Building, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    history = copied(report, out) / "history.jsonl"
    rows = [json.loads(line) for line in history.read_text("utf-8").splitlines()]
    first = next(row for row in rows if row["process"] == "kernel")
    boot = {**first, "f": "boot", "task": None, "value": {}, "monotonic_ns": first["monotonic_ns"] - 10**9}
    history.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in [*rows, boot]), "utf-8")
    page = opened(watched, built, report, out)
    page.wait_for_selector(".timeline .item")

    def ticks() -> list[str]:
        return [text for text in page.locator(".tick-name").all_text_contents() if text != "0"]

    labels = page.locator(".timeline .item text")
    shown = labels.all_text_contents()
    assert "kernel started" not in shown
    assert "run started" in shown
    assert not [text for text in ticks() if text.startswith("-")]
    place = page.locator(".item", has=page.locator("text", has_text=re.compile("^run started$"))).locator("path").bounding_box()
    whole = page.locator(".timeline").bounding_box()
    assert place is not None
    assert whole is not None
    assert place["x"] - whole["x"] < whole["width"] / 20
    page.locator(".timeline").focus()
    for _ in range(8):
        page.keyboard.press("-")
    watched.until(page, "[...document.querySelectorAll('.item text')].some((one) => one.textContent === 'kernel started')")
    page.keyboard.press("0")
    watched.until(page, "![...document.querySelectorAll('.item text')].some((one) => one.textContent === 'kernel started')")


def test_where_a_plan_came_from_is_among_the_facts(watched: Watched, report: Report, built: Building, tmp_path: Path) -> None:
    page = opened(watched, built, report, tmp_path, plan_source="recording")
    assert page.locator("#plan-source").inner_text() == "Plan\nrecording"


@pytest.mark.parametrize(("source", "claimed"), [("reference", False), ("recording", True)])
def test_plans_are_the_frameworks_own_only_where_they_are(
    watched: Watched, report: Report, built: Building, source: str, claimed: bool
) -> None:
    runs = [
        run.model_copy(update={"plan_source": source if run.framework == "crewai" else "reference"}) for run in report.summary.runs
    ]
    page = watched.open(built(report.summary.model_copy(update={"runs": runs})).file)
    lead = page.locator("#plans .lead").inner_text()
    assert lead.startswith("No framework planned anything here") != claimed
    assert "the same plan" in lead or claimed
    names = page.locator("#plans tbody tr td:first-of-type").all_inner_texts()
    assert names == [f"crewai {source}{'' if claimed else ' plan'}", "langgraph reference plan"]
