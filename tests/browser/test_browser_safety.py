"""Whatever names, reasons, plans and logs hold, the page shows it and does nothing of it; and everybody can read the page."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.result import BenchmarkSummary, FaultReport
from pytest_execgo.plan.statistics import CellChange, Comparison, ComparisonTest, GateResult
from pytest_execgo.plan.verdict import Attribution, Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Page

Building = Any
Report = Any
Watched = Any

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "'\"><a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
    "\u2028\u2029\u202e\ud800\x00\x1b[31m",
    "__proto__",
    "<!--<script>",
    "&lt;b&gt;",
]
ALL = " ".join(HOSTILE)
PLAIN = [text for text in HOSTILE if text.isascii()]  # half a pair makes a plan unreadable
FAULT = FaultReport(fault=0, action=ALL, target=ALL, drawn=True, fired=True, hit=True, observed={ALL: ALL}, error=ALL)


@pytest.fixture
def hostile(report: Report, built: Building, tmp_path: Path) -> Report:
    """Write a report in which every text that may hold anything holds all of that, in the summary and in the artifacts."""
    out = tmp_path / "<img src=x onerror=alert(1)> #%2e"
    shutil.copytree(report.file.parent, out)
    for folder in out.glob("*-relay-*"):
        spoil_artifacts(folder)
    for log in (out / "stacks").rglob("*.log"):
        lines = log.read_text("utf-8").splitlines()
        log.write_text("\n".join(f"{line}\n{ALL}".encode("utf-8", "replace").decode() for line in lines), "utf-8", errors="replace")
    summary = spoiled(report.summary)
    found: Report = built(summary, out)
    return found


def spoil_artifacts(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text("utf-8"))
    plan["plan_id"] = HOSTILE[1]
    plan["normalization_warnings"] = PLAIN
    for stage in plan["stages"]:
        for task in stage["task_graph"]["tasks"]:
            task["input"] = dict.fromkeys(PLAIN, HOSTILE[3])
    (folder / "plan.json").write_text(json.dumps(plan), "utf-8")
    for name in ("timeline.jsonl", "history.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
        for number, row in enumerate(rows):
            text = HOSTILE[number % len(HOSTILE)]
            for key in ("stage_id", "task_id", "error_code", "idem_key"):
                if key in row:
                    row[key] = text
            for carried in (row.get("metadata"), row.get("value")):
                if isinstance(carried, dict):
                    carried.update({"error": ALL, "action": text, "target": text, "outcome": text})
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def spoiled(summary: BenchmarkSummary) -> BenchmarkSummary:
    runs = []
    for run in summary.runs:
        history = run.history
        if history is not None:
            violations = [one.model_copy(update={"check": ALL, "message": ALL}) for one in history.violations]
            witness = [
                one.model_copy(
                    update={"witness": [row.model_copy(update={"task": ALL, "f": ALL, "value": {ALL: ALL}}) for row in one.witness]}
                )
                for one in violations
            ]
            history = HistoryVerdict(
                outcome=history.outcome, reasons=HOSTILE, counts={text: 1 for text in HOSTILE}, violations=witness
            )
        changed = {
            "verdict": Verdict(passed=False, reasons=HOSTILE, details=dict.fromkeys(HOSTILE, ALL)),
            "error": ALL,
            "attribution": Attribution(layer="kernel", code=ALL, message=ALL, evidence=[3, -1, 10**12]),
            "faults": [
                FaultReport(fault=0, action=ALL, target=ALL, drawn=True, fired=True, hit=True, observed={ALL: ALL}, error=ALL)
            ],
            "history": history,
            "backend": ALL,
            "versions": {ALL: ALL},
            "outcome": "failed" if run.outcome == "passed" else run.outcome,
        }
        runs.append(run.model_copy(update=changed))
    test = ComparisonTest(what=ALL, method="fisher_exact", before=(1, 2), after=(1, 2), p=1, p_adjusted=1)
    changes = [
        CellChange(kind="other", before=change.before and change.before.model_copy(update={"reasons": HOSTILE}), after=change.after)
        for change in (summary.comparison.changes if summary.comparison else [])
    ]
    compared = Comparison(
        baseline_sweep="main", paired=1, unpaired=0, regressions=0, improvements=0, changes=changes, tests=[test], notes=HOSTILE
    )
    gates = [GateResult(condition=ALL, passed=False, because=HOSTILE)]
    return summary.model_copy(update={"runs": runs, "comparison": compared, "gates": gates})


def assert_harmless(page: Page, own_scripts: int = 4) -> None:
    """Nothing of the data has become an element, a handler, or a link that leads anywhere but to the run's files."""
    seen = page.evaluate("""() => {
      const all = [...document.querySelectorAll('*')];
      const links = [...document.querySelectorAll('[href]')].map((one) => one.getAttribute('href'));
      return {
        scripts: document.scripts.length,
        foreign: document.querySelectorAll('img, iframe, object, embed, form, base, foreignObject, image, use, animate').length,
        handlers: all.filter((one) => [...one.attributes].some((attribute) => /^on/i.test(attribute.name))).length,
        links: links.filter((to) => !/^(#|\\.\\/|data:image)/.test(to)),
      };
    }""")
    assert seen == {"scripts": own_scripts, "foreign": 0, "handlers": 0, "links": []}


def test_hostile_texts_are_shown_and_nothing_more(watched: Watched, hostile: Report) -> None:
    page = watched.open(hostile.file)
    assert_harmless(page)
    assert "<script>alert(1)</script>" in page.locator("#gates").inner_text()
    assert "<img src=x onerror=alert(1)>" in page.locator("#comparison").inner_text()
    page.locator("#search").fill("<script>")
    watched.until(page, "location.hash.includes('q=')")
    assert page.locator("#runs tbody tr").count() >= 4
    page.locator("#runs tbody a").first.click()
    page.wait_for_selector("#timeline .item")
    assert_harmless(page)
    assert page.locator("#verdict .reasons li").first.inner_text() == "<script>alert(1)</script>"
    page.go_back()
    page.wait_for_selector("#matrix")


def test_hostile_artifacts_are_shown_and_nothing_more(watched: Watched, hostile: Report) -> None:
    page = watched.open(hostile.file, hostile.cell("langgraph", "runtime_restart"))
    page.wait_for_selector("#timeline .item")
    page.locator("#events > summary").click()
    page.wait_for_selector("#events tbody tr")
    page.locator("#logs").scroll_into_view_if_needed()
    assert_harmless(page)
    assert "</script><script>alert(1)</script>" in page.locator("#logs").inner_text()
    page.locator(".graph .task").first.focus()
    page.keyboard.press("Enter")
    assert "<svg/onload=alert(1)>" in page.locator("#plan .told").inner_text()
    for number in range(page.locator(".timeline .item").count()):
        page.locator(".timeline").focus()
        page.keyboard.press(".")
        if number % 5 == 0:
            assert_harmless(page)
    page.locator("#artifacts a", has_text="plan.json").click()
    page.wait_for_url("**/plan.json")


@pytest.mark.parametrize(
    "fragment",
    [
        "#run=javascript:alert(1)",
        "#q=<img src=x onerror=alert(1)>",
        "#q=%3Cscript%3Ealert(1)%3C%2Fscript%3E&theme=%22onload=alert(1)",
        "#scenario=__proto__,constructor&lang=__proto__&outcome=toString",
        "#" + "&".join(f"q{number}={'x' * 50}" for number in range(500)),
    ],
)
def test_hostile_addresses_change_nothing(watched: Watched, report: Report, fragment: str) -> None:
    page = watched.open(report.file, fragment)
    assert_harmless(page)
    assert page.locator("h1").inner_text().startswith("2 of 4 cells passed")


def test_the_policy_stops_what_would_be_put_in_all_the_same(watched: Watched, report: Report) -> None:
    page = watched.open(report.file)
    done = page.evaluate("""async () => {
      window.struck = 0;
      const hostile = '<img src="data:," onerror="window.struck = 1"><p style="color: red" id="styled">x</p>';
      document.body.insertAdjacentHTML('beforeend', hostile);
      const script = document.createElement('script');
      script.textContent = 'window.struck = 2';
      document.body.append(script);
      await new Promise((resolve) => { document.images[0].addEventListener('error', resolve); });
      let fetched = 'no';
      try { await fetch('https://example.invalid/'); fetched = 'yes'; } catch { fetched = 'no'; }
      return [window.struck, fetched, getComputedStyle(document.getElementById('styled')).color === 'rgb(255, 0, 0)'];
    }""")
    assert done == [0, "no", False]
    assert len(watched.offences) >= 3  # the browser said so
    watched.offences.clear()


CONTRAST = (Path(__file__).parent / "contrast.js").read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(watched: Watched, report: Report, scheme: str) -> None:
    """WCAG 2.2, AA: 4.5 to 1, and 3 to 1 for large letters."""
    page = watched.open(report.file, scheme=scheme)
    page.locator(".chip.failed").click()
    assert page.evaluate(CONTRAST) == []
    page = watched.open(report.file, report.cell("langgraph", "runtime_restart"), scheme=scheme)
    page.wait_for_selector("#timeline .item")
    page.locator("#events > summary").click()
    page.wait_for_selector("#events tbody tr")
    page.locator(".graph .task").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(CONTRAST) == []


def test_what_can_be_used_has_a_name_and_every_picture_a_word(watched: Watched, report: Report) -> None:
    nameless = """() => [...document.querySelectorAll('a, button, input, summary, [tabindex="0"], [role=button]')]
      .filter((one) => one.checkVisibility())
      .filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.getAttribute('aria-labelledby')))
      .map((one) => one.outerHTML.slice(0, 120))"""
    for fragment in ("", report.cell("langgraph", "runtime_restart")):
        page = watched.open(report.file, fragment)
        page.wait_for_selector("#timeline .item" if fragment else "#matrix")
        assert page.evaluate(nameless) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
