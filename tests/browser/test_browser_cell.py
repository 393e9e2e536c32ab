"""A cell's page in a real browser: why, the timeline, the plan, the evidence, and the ways out of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.reporting.page import build

if TYPE_CHECKING:
    from playwright.sync_api import Page

Report = Any
Watched = Any

FIRST_TICK = "document.querySelector('.tick-name').textContent"
TITLE = "document.getElementById('cell-title').textContent"


def opened(watched: Watched, report: Report, framework: str = "langgraph", chaos: str = "runtime_restart", **how: Any) -> Page:
    page: Page = watched.open(report.file, report.cell(framework, chaos), **how)
    page.wait_for_selector(".timeline .item")
    return page


def window(page: Page) -> tuple[float, float]:
    """Return the first and the last time on the timeline's axis, in ms."""
    texts = page.locator(".tick-name").all_text_contents()
    units = {"µs": 0.001, "ms": 1.0, "s": 1000.0}
    values = [0.0 if text == "0" else float(text.split()[0]) * units[text.split()[1]] for text in texts]
    return values[0], values[-1]


def test_a_failed_cell_says_why_and_what_shows_it(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    assert page.locator("#verdict .reasons li").all_inner_texts() == [
        "zombie_writer: task publish:announce:1 had ended when its effect reminder was applied",
        "the notice was published 2 times, not once",
    ]
    assert page.locator(".attribution p").first.inner_text() == "kernel history_zombie_writer"
    violation = page.locator(".violation").inner_text()
    assert "zombie writer" in violation
    assert re.search(r"\+[\d.]+ m?s\tkernel\tpersist\tpublish:announce:1 *\tstatus=success", violation)
    assert re.search(r"effect sink\tdeliver\tpublish:announce:1 *\treminder", violation)
    assert "zombie writer 1/2" in page.locator(".checks .failed").inner_text()
    assert "restart → runtime" in page.locator("#faults").inner_text()
    watched.shot(page, "cell-1280-light-en")


def test_the_timeline_has_a_lane_for_each_observer(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    assert page.locator(".lane-name").all_text_contents() == ["Faults and services", "Plan", "Kernel", "Effects", "Judgement"]
    labels = page.locator(".timeline .item text").all_text_contents()
    assert {"restart → runtime", "prepare", "publish", "remind", "draft", "note", "announce", "notice", "reminder"} <= set(labels)
    assert page.locator(".proof").count() == 2
    assert page.locator(".item.evident text").all_text_contents() == ["history checked"]


def test_the_timeline_zooms_and_pans_with_keys(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    whole = window(page)
    page.locator(".timeline").focus()
    page.keyboard.press("+")
    watched.until(page, f"{FIRST_TICK} !== '0'")
    first, last = window(page)
    assert 0 < first < last < whole[1]
    tick = page.locator(".tick-name").first.text_content()
    page.keyboard.press("ArrowRight")
    watched.until(page, f"{FIRST_TICK} !== {tick!r}")
    assert window(page)[0] > first
    page.keyboard.press("0")
    watched.until(page, "document.querySelector('.tick-name').textContent === '0'")
    assert window(page) == whole


def test_the_timeline_zooms_with_the_wheel_only_when_somebody_is_at_it(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    page.locator("#timeline").scroll_into_view_if_needed()
    box = page.locator(".timeline").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 400, box["y"] + 40)
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    watched.until(page, f"scrollY > {before}")
    assert window(page)[0] == 0
    page.locator(".timeline").focus()
    page.mouse.wheel(0, -300)
    watched.until(page, "document.querySelector('.tick-name').textContent !== '0'")


def test_the_timeline_is_dragged(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    page.locator(".timeline").focus()
    page.keyboard.press("+")
    watched.until(page, "document.querySelector('.tick-name').textContent !== '0'")
    first = page.locator(".tick-name").first.text_content()
    page.locator(".timeline").scroll_into_view_if_needed()
    box = page.locator(".timeline").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 8, steps=5)
    page.mouse.up()
    watched.until(page, f"{FIRST_TICK} !== {first!r}")
    assert page.locator(".item.chosen").count() == 0


def test_choosing_something_shows_what_caused_it(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    page.locator(".item", has=page.locator("text", has_text=re.compile("^reminder$"))).locator("path").click()
    told = page.locator("#timeline .told")
    assert told.inner_text().startswith("Effects reminder +")
    assert page.locator(".cause").count() >= 4  # the effect, its task, its stage, the stages before, the plan
    chain = []
    for _ in range(9):
        causes = told.locator("button")
        if not causes.count():
            break
        causes.first.click()
        chain.append(told.locator("b").inner_text())
    assert chain == ["announce", "publish", "prepare", "plan obtained", "run started"]  # it was sent in the name of `announce`


def test_a_fault_goes_back_to_the_event_that_triggered_it(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    page.locator(".item text", has_text="restart → runtime").click()
    assert page.locator("#timeline .told").inner_text().startswith("Faults and services restart → runtime")
    page.locator("#timeline .told button").first.click()
    assert page.locator("#timeline .told b").inner_text() == "prepare"


def test_evidence_and_witnesses_lead_to_their_place_on_the_timeline(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    page.locator(".evidence button").click()
    assert page.locator(".item.chosen text").text_content() == "history checked"
    page.locator(".witness button").last.click()
    assert page.locator(".item.chosen text").text_content() in ("reminder", "remind")


def test_the_plan_shows_how_each_task_ended_and_what_it_does(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    assert page.locator(".graph .task").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))") == [
        "draft, runtime.script, success",
        "note, os.file, success",
        "announce, os.http, success",
        "remind, os.http, success",
    ]
    assert page.locator(".graph .waits").count() == 1
    assert page.locator(".graph .binds").count() == 2
    page.locator(".graph .task").nth(2).focus()
    page.keyboard.press("Enter")
    told = page.locator("#plan .told").inner_text()
    assert "draft.output.body → announce.input.body" in told
    assert "${{ fixtures_url }}/effects" in told


def test_an_attempt_that_was_cut_short_is_seen(watched: Watched, report: Report) -> None:
    page = opened(watched, report, "crewai")
    draft = page.locator(".item", has=page.locator("text", has_text=re.compile("^draft$")))
    looks = draft.locator("rect").evaluate_all("all => all.map((one) => one.getAttribute('class'))")
    assert looks[-1] == "passed"
    assert looks.count("passed") == 1
    assert len([look for look in looks if look != "waiting"]) == 2
    assert page.locator("#timeline .item.passed text", has_text="run finished").count() == 1
    assert page.locator("#verdict p").inner_text() == "The verifier found the world as the scenario wants it."


def test_the_cell_is_set_beside_the_baseline(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    rows = [row.split("\t") for row in page.locator("#baseline tbody tr").all_inner_texts()]
    assert [rows[0][0], rows[0][1].strip(), rows[0][2].strip()] == ["Outcome", "✓\npassed", "✕\nfailed"]
    assert rows[1][:2] == ["Wall time", "90.0 ms"]
    assert rows[3] == ["Broken promises", "0", "1"]
    same = opened(watched, report, "crewai", "none")
    assert same.locator("#baseline").inner_text().endswith("The baseline main lists no change of this cell.")


def test_artifacts_are_linked_from_where_the_page_is(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    links = page.locator("#artifacts a").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    run = report.run("langgraph", "runtime_restart").run_id
    assert f"./{run}/plan.json" in links
    assert len(links) == 8
    page.locator("#artifacts a", has_text="plan.json").click()
    page.wait_for_url("**/plan.json")
    assert json.loads(page.inner_text("body"))["plan_id"] == "relay-twice"
    page.go_back()
    page.wait_for_selector("#cell-title")


def test_a_page_elsewhere_links_runs_in_a_folder_of_any_name(watched: Watched, report: Report, tmp_path: Path) -> None:
    out, place = tmp_path / "runs #2 %41 ?x=<b>", tmp_path / "pages"
    shutil.copytree(report.file.parent, out)
    place.mkdir()
    (place / "page.html").write_text(build(report.summary, out, place=place), "utf-8")
    page = watched.open(place / "page.html", report.cell("crewai", "none"))
    page.locator("#artifacts a", has_text="plan.json").click()
    page.wait_for_url("**/plan.json")
    assert json.loads(page.inner_text("body"))["plan_id"] == "relay-reference"


def test_the_command_to_run_the_cell_again_is_there_to_copy(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    command = "pytest --execgo-matrix --execgo-cell=relay:langgraph:replay:runtime_restart:0"
    assert page.locator("#command").inner_text() == command
    page.locator("#again button").click()
    assert page.evaluate("getSelection().toString()") == command
    watched.until(page, "document.querySelector('#again [role=status]').textContent !== ''")


def test_logs_metrics_and_all_events_are_there(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    assert '"path": "/tasks"' in page.locator("#logs pre").inner_text()
    assert "Plan validity\n100%" in page.locator("#metrics").inner_text()
    assert page.locator("#events tbody tr").count() == 0
    page.locator("#events > summary").click()
    page.wait_for_selector("#events tbody tr")  # the rows are made when the browser tells that the part was opened
    kinds = page.locator("#events tbody tr td:nth-child(3)").all_inner_texts()
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    page.locator("#events .seq", has_text="#3").first.click()
    assert page.locator(".item.chosen text").text_content() == "prepare"


def test_a_skipped_cell_says_why_and_shows_nothing_that_never_was(watched: Watched, report: Report) -> None:
    page = watched.open(report.file, report.cell("crewai", "llm_slow"))
    page.wait_for_selector("#verdict")
    assert "nobody asks a model in replay" in page.locator("#verdict").inner_text()
    assert page.locator("#timeline, #plan, #history, #artifacts, #again .facts").count() == 0


def test_one_goes_from_cell_to_cell_and_back_with_keys(watched: Watched, report: Report) -> None:
    page = watched.open(report.file, "#outcome=failed")
    page.locator("#runs tbody a").first.click()
    page.wait_for_selector(".timeline .item")
    assert page.evaluate("document.activeElement.id") == "cell-title"
    title = page.locator("#cell-title").inner_text()
    page.keyboard.press("]")
    watched.until(page, f"{TITLE} !== {title!r}")
    assert page.locator("#cell-title").inner_text() == "relay langgraph · replay · runtime_restart"
    page.keyboard.press("[")
    watched.until(page, f"{TITLE} === {title!r}")
    page.keyboard.press("Escape")
    page.wait_for_selector("#matrix")
    assert page.evaluate("location.hash") == "#outcome=failed"
    page.go_back()
    page.wait_for_selector("#cell-title")


@pytest.mark.parametrize("fragment", ["", "sort=time", "sort=-scenario&outcome=failed,passed", "q=langgraph"])
def test_next_and_previous_go_through_the_runs_as_they_were_listed(watched: Watched, report: Report, fragment: str) -> None:
    page = watched.open(report.file, f"#{fragment}")
    listed = page.locator("#runs tbody a").evaluate_all("all => all.map((one) => one.dataset.run)")
    page.locator("#runs tbody a").first.click()
    gone_through = []
    for number in range(1, len(listed) + 1):  # the address changes before the page does
        watched.until(page, f"document.querySelector('.neighbours span')?.textContent === '{number}/{len(listed)}'")
        gone_through.append(page.evaluate("new URLSearchParams(location.hash.slice(1)).get('run')"))
        page.keyboard.press("]")
    assert gone_through == listed
    assert len(listed) > 2
    assert page.locator("#next").count() == 0
    page.keyboard.press("[")
    watched.until(page, f"document.querySelector('.neighbours span').textContent === '{len(listed) - 1}/{len(listed)}'")


def test_a_filter_that_was_set_later_stays_when_a_cell_is_opened(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    page.locator(".chip.failed").click()
    page.locator("#comparison .changes a").click()
    page.wait_for_selector("#cell-title")
    assert page.evaluate("location.hash").startswith("#outcome=failed&run=")


def test_a_cell_prints_with_all_that_is_folded(watched: Watched, report: Report) -> None:
    page = opened(watched, report)
    at_once = "dispatchEvent(new Event('beforeprint')), document.querySelectorAll('#events tbody tr').length"
    assert page.evaluate(at_once) > 20  # what comes after that event is too late for the paper
    assert page.locator("main details:not([open])").count() == 0
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 900})
    wide = (
        "[...document.querySelectorAll('.timeline, .graph')].filter((one) => one.getBoundingClientRect().right > innerWidth).length"
    )
    watched.until(page, f"{wide} === 0")  # they are told their new width with the next frame


@pytest.mark.parametrize(("width", "scheme", "locale"), [(400, "dark", "zh-CN"), (400, "light", "en-US"), (1280, "dark", "en-US")])
def test_a_cell_fits_its_window(watched: Watched, report: Report, width: int, scheme: str, locale: str) -> None:
    page = opened(watched, report, width=width, scheme=scheme, locale=locale)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    watched.shot(page, f"cell-{width}-{scheme}-{locale[:2]}")
