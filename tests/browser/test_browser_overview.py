"""The sweep as a whole, in a real browser: what it shows, how one finds one's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.benchmark.summary import summarise

if TYPE_CHECKING:
    from playwright.sync_api import Page

Report = Any  # of this folder's conftest, as `Watched` is
Watched = Any


def squares(page: Page) -> list[str]:
    found: list[str] = page.locator(".square").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    return found


def test_the_page_opens_from_disk_and_says_how_the_sweep_went(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    assert page.locator("h1").inner_text() == "2 of 4 cells passed of 8 planned"
    assert [text.split("\n")[1:] for text in page.locator(".chip").all_inner_texts()] == [
        ["2", "passed"],
        ["2", "failed"],
        ["2", "skipped"],
    ]
    assert page.title() == f"Sweep {report.summary.sweep_id} · pytest-execgo"
    sections = page.locator("main section.card > h2").all_inner_texts()
    assert sections == [
        "What did not pass, and why",
        "Gates",
        "Compared with the baseline",
        "Matrix",
        "Statistics",
        "Plans side by side",
        "Skipped, and why",
        "Runs",
    ]
    watched.shot(page, "overview-1280-light-en")


def test_a_square_tells_verdict_rate_interval_and_time(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    wall = report.run("crewai", "none").metrics.wall_time_ms
    said = squares(page)
    assert said[0].startswith("relay, crewai, replay, none: 1 of 1 passed, pass rate 100%, median time ")
    assert f"{wall:.1f} ms" in said[0] or f"{wall:.0f} ms" in said[0]
    assert said[0].endswith("(95% interval 21% to 100%)")
    assert "0 of 1 passed, pass rate 0%" in said[1]
    assert said[1].endswith("(95% interval 0% to 79%) · 1 broken promise")
    assert "relay, langgraph, replay, llm_slow: skipped" in said
    assert page.locator("h3 .chaos").all_text_contents() == ["none", "runtime_restart", "llm_slow"]


def test_what_never_ran_is_folded_unless_it_is_all_there_is(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    folded = page.locator("details.idle")
    assert folded.locator("summary").inner_text() == "1 panel in which every cell was skipped"
    assert not folded.locator(".square").first.is_visible()
    page.locator(".chip.skipped").click()
    assert folded.count() == 0
    assert page.locator(".square.skipped").first.is_visible()


def test_what_was_unfolded_stays_so_and_the_tab_key_never_leads_into_what_is_folded(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    reached = page.locator(".square[tabindex='0']")
    folded = page.locator("details.idle")
    folded.locator("summary").click()
    folded.locator(".square").first.focus()
    page.locator("#search").fill("replay")
    watched.until(page, "location.hash.includes('q=replay')")
    assert folded.locator(".square").first.is_visible()
    assert reached.get_attribute("class") == "square skipped"
    folded.locator("summary").click()
    page.locator("#search").fill("repla")
    watched.until(page, "location.hash.endsWith('q=repla')")
    assert not folded.locator(".square").first.is_visible()
    assert reached.count() == 1
    assert reached.is_visible()


def test_when_cells_were_skipped_the_headline_speaks_of_those_that_ran(watched: Watched, built: Any, report: Report) -> None:
    runs = [run for run in report.summary.runs if run.outcome in ("passed", "skipped")]
    span = {"started_at": report.summary.started_at, "finished_at": report.summary.finished_at, "wall_time_ms": 1.0}
    page = watched.open(built(summarise(runs, sweep_id="some", **span)).file)
    assert page.locator("h1").inner_text() == "All 2 cells that ran passed"


def test_runs_are_sorted_by_a_columns_name_and_stay_so(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    wall = {run.run_id: run.metrics.wall_time_ms for run in report.summary.runs}

    def shown() -> list[str]:
        found: list[str] = page.locator("#runs tbody a").evaluate_all("all => all.map((one) => one.dataset.run)")
        return found

    longest = sorted(wall, key=lambda run: -(wall[run] if wall[run] is not None else -1))
    page.get_by_role("button", name="Time").click()
    assert shown()[:4] == longest[:4]
    assert page.locator("#runs [aria-sort]").inner_text() == "Time"
    page.get_by_role("button", name="Time").click()
    assert page.evaluate("location.hash") == "#sort=-time"
    page.reload()
    assert shown()[-4:] == longest[:4][::-1]
    assert page.locator("#runs [aria-sort]").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Outcome").click()
    assert page.evaluate("location.hash") == ""
    assert page.locator("#runs tbody tr").first.locator(".badge").inner_text() == "✕\nfailed"


def test_gates_comparison_statistics_plans_and_skips_are_told(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    gates = page.locator("#gates").inner_text()
    assert "1 of 2 conditions was not met" in gates
    assert "pass_rate>=0.9" in gates
    page.locator("#gates summary").click()
    assert page.locator("#gates .because li").all_inner_texts() == [f"relay cell {number}" for number in range(5)]
    compared = page.locator("#comparison").inner_text()
    assert "Baseline main: 4 cells in both sweeps, 1 in one only." in compared
    assert "1 regression" in compared
    assert "more than chance" in compared
    assert "another version of python" in compared
    assert page.locator("#comparison .changes a").count() == 1  # what is gone has no page
    statistics = page.locator("#statistics").inner_text()
    assert "50.0%\n15.0% to 85.0% with 95% confidence" in statistics
    plans = page.locator("#plans").inner_text()
    assert "outcomes differ" in plans
    assert "os.file 1, os.http 2, runtime.script 1" in plans
    assert page.locator("#skipped li").all_inner_texts() == [
        "2 cells nobody asks a model in replay; use --execgo-mode live (chaos profile 'llm_slow', fault 0: model_fault model)"
    ]


def test_filters_narrow_matrix_and_runs_and_survive_a_reload(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    page.locator(".chip.failed").click()
    page.locator("details[data-axis=chaos] summary").click()
    page.get_by_label("runtime_restart", exact=True).check()
    page.locator("details[data-axis=chaos] summary").click()

    def shown() -> tuple[Any, ...]:
        return (
            len(squares(page)),
            page.locator("#runs tbody tr").count(),
            page.locator(".shown").inner_text(),
            page.locator(".chip.failed").get_attribute("aria-pressed"),
            page.locator("details[data-axis=chaos] summary b").inner_text(),
        )

    assert shown() == (1, 1, "1 of 6 runs shown\nClear filters", "true", "runtime_restart")
    assert page.evaluate("location.hash") == "#chaos=runtime_restart&outcome=failed"
    page.reload()
    assert shown() == (1, 1, "1 of 6 runs shown\nClear filters", "true", "runtime_restart")
    page.get_by_role("button", name="Clear filters").click()
    assert len(squares(page)) == 6
    assert page.evaluate("location.hash") == ""


def test_the_search_looks_into_names_ids_and_reasons_and_survives_a_reload(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    page.keyboard.press("/")
    page.keyboard.type("zombie NONE")
    watched.until(page, "location.hash.endsWith('NONE') && document.querySelectorAll('#runs tbody tr').length === 1")
    assert page.locator("#runs tbody tr").inner_text().startswith("✕\nfailed\trelay\tlanggraph\treplay\tnone")
    assert page.evaluate("document.activeElement.id") == "search"
    page.reload()
    assert page.locator("#search").input_value() == "zombie NONE"
    assert page.locator("#runs tbody tr").count() == 1
    page.locator("#search").fill("no such thing <b>")
    page.wait_for_selector("text=No run matches these filters.")
    page.locator("#search").press("Escape")
    assert page.locator("#runs tbody tr").count() == 6


def test_a_fragment_that_names_nothing_known_shows_everything(watched: Watched, report: Report) -> None:
    page = watched.open(report.file, "#outcome=none,%00&scenario=%E0%A4%A&run=../../etc&lang=xx&theme=<b>&q=")
    assert len(squares(page)) == 6


def test_the_matrix_is_used_with_keys_alone(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)

    def focused() -> str:
        found: str = page.evaluate("document.activeElement.getAttribute('aria-label').split(':')[0]")
        return found

    page.locator(".square[tabindex='0']").focus()
    assert focused() == "relay, crewai, replay, none"
    for key, place in [
        ("ArrowRight", "relay, langgraph, replay, none"),
        ("ArrowRight", "relay, langgraph, replay, none"),
        ("ArrowDown", "relay, langgraph, replay, runtime_restart"),
        ("ArrowDown", "relay, langgraph, replay, llm_slow"),
        ("Home", "relay, crewai, replay, llm_slow"),
        ("PageUp", "relay, crewai, replay, runtime_restart"),
        ("ArrowUp", "relay, crewai, replay, none"),
        ("End", "relay, langgraph, replay, none"),
    ]:
        page.keyboard.press(key)
        assert focused() == place, key
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert page.locator(".square[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector("#timeline")
    assert page.locator("#cell-title").inner_text() == "relay langgraph · replay · none"
    page.keyboard.press("Escape")
    page.wait_for_selector("#matrix")
    assert focused() == "relay, langgraph, replay, none"


def test_the_skip_link_leads_past_the_head(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.evaluate("location.hash") == ""


def test_the_page_speaks_the_readers_language_or_the_chosen_one(watched: Watched, report: Report) -> None:
    page = watched.open(report.file, locale="zh-CN")
    assert page.locator("h1").inner_text().startswith("4 个单元中有 2 个通过")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    watched.shot(page, "overview-1280-light-zh")
    page.get_by_role("button", name="English").click()
    assert page.locator("h1").inner_text().startswith("2 of 4 cells passed")
    assert page.evaluate("document.activeElement.id") == "lang-en"
    page.reload()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_look_follows_the_system_or_the_switch(watched: Watched, report: Report) -> None:
    page = watched.open(report.file, scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    watched.shot(page, "overview-1280-dark-en")
    page.get_by_role("button", name="Light").click()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_a_large_sweep_draws_what_is_seen_first_and_the_rest_when_it_is_reached(watched: Watched, wide_report: Report) -> None:
    page = watched.open(wide_report.file)
    assert page.locator(".panel").count() == 50
    drawn = page.locator(".square").count()
    assert 12 <= drawn < 300
    assert page.locator("#runs tbody tr").count() < 300
    assert page.locator("#runs tbody tr").first.locator(".badge").inner_text() == "✕\nfailed"
    page.locator(".square[tabindex='0']").focus()
    for _ in range(49):
        page.keyboard.press("PageDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "scenario_0, framework_0, replay, profile_49"
    )
    rows = "document.querySelectorAll('#runs tbody tr').length"
    for _ in range(3):
        drawn = page.evaluate(rows)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        watched.until(page, f"{rows} > {drawn} || {rows} === 600")
    assert page.evaluate(rows) == 600


def test_printing_draws_everything_that_waits_to_be_seen(watched: Watched, wide_report: Report) -> None:
    page = watched.open(wide_report.file)
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert page.locator(".square").count() == 600
    assert page.locator("#runs tbody tr").count() == 600
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    assert page.locator("#runs").is_visible()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_at_400_pixels_nothing_has_to_be_scrolled_sideways(watched: Watched, report: Report, locale: str) -> None:
    page = watched.open(report.file, width=400, locale=locale)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    watched.shot(page, f"overview-400-light-{locale[:2]}")
    page.locator("details[data-axis=framework] summary").click()
    assert page.locator("details[data-axis=framework] fieldset").is_visible()
    box = page.locator("details[data-axis=framework] fieldset").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400


def test_at_400_pixels_three_frameworks_stand_side_by_side(watched: Watched, wide_report: Report) -> None:
    page = watched.open(wide_report.file, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("[...document.querySelectorAll('.grid-place')].every((one) => one.scrollWidth <= one.clientWidth)")
