"""What pytest-html shows of a sweep: columns, links that a moved folder keeps, the sweep above the table."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

HOSTILE = """\
from pytest_execgo import Verdict


def verify(context):
    return Verdict.of(['<script>alert(1)</script> & "x"</pre><img src=x onerror=alert(2)>'])
"""
SUICIDE = "import os\n\n\ndef verify(context):\n    os.kill(os.getpid(), 9)\n"


class Page:
    """A page of pytest-html: its own text, and the rows that its script would show."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text("utf-8")
        blob = re.search(r'data-jsonblob="(.*?)"', self.text, re.DOTALL)
        assert blob is not None
        self.tests: dict[str, list[dict[str, Any]]] = json.loads(html.unescape(blob[1]))["tests"]
        self.headers = len(re.findall("<th[ >]", self.text))
        above = re.search(r'<div class="additional-summary prefix">(.*?)</div>', self.text, re.DOTALL)
        assert above is not None
        self.above = " ".join(above[1].split())

    def rows(self) -> list[list[str]]:
        return [row["resultsTableRow"] for rows in self.tests.values() for row in rows]

    def links(self) -> list[str]:
        return re.findall(r'href="(.*?)"', "".join(row[-1] for row in self.rows()) + self.above)


def cells(row: list[str]) -> list[str]:
    return [re.sub("<.*?>", "", cell) for cell in row]


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
@pytest.mark.parametrize("contained", [[], ["--self-contained-html"]], ids=["assets", "self-contained"])
def test_columns_links_and_the_sweep(project: Any, mode: list[str], contained: list[str]) -> None:
    project.run_plain("--execgo-matrix", *mode, *contained, "--html=out/deep/r.html").assert_outcomes(passed=3)
    page = Page(project.path / "out/deep/r.html")
    assert [len(row) for row in page.rows()] == [page.headers] * 3
    for row in page.rows():
        shown = cells(row)
        assert shown[3] == "hello"
        assert shown[5:8] == ["replay", "none", "passed"]
        assert shown[8].endswith(" ms")
        assert shown[9].endswith("x")
    assert {cells(row)[4] for row in page.rows()} == {"langgraph", "crewai", "autogen"}
    assert "<p>3 cells: 3 passed in " in page.above
    assert "<p>pass rate 100% (95% interval " in page.above
    links = page.links()
    assert len(links) == len(set(links))
    assert sum(link.endswith("/result.json") for link in links) == 3
    assert sum("/sweeps/" in link and link.endswith("/benchmark-summary.md") for link in links) == 1
    moved = project.path.with_name(project.path.name + "-moved")
    shutil.move(project.path, moved)
    assert all((moved / "out/deep" / unquote(link)).exists() for link in links)


def test_links_of_others_stay_and_tests_of_ones_own_have_links_but_no_columns(project: Any) -> None:
    project.pytester.makepyfile(
        """
        import pytest_html

        def test_other():
            pass

        def test_mine(execgo_run, extras):
            extras.append(pytest_html.extras.url("http://127.0.0.1/mine", "mine"))
        """
    )
    for mode in (["-p", "no:xdist"], ["-n", "1"]):
        result = project.run_plain("--html=r.html", "--self-contained-html", "--execgo-framework=langgraph", *mode)
        result.assert_outcomes(passed=2)
        page = Page(project.path / "r.html")
        assert [len(row) for row in page.rows()] == [page.headers, page.headers] == [4, 4]
        (mine,) = (cells(row)[-1] for row in page.rows() if "test_mine" in row[1])
        assert sorted(re.findall(r"mine|summary\.md|result\.json|timeline\.jsonl|folder", mine)) == [
            "folder", "mine", "result.json", "summary.md", "timeline.jsonl",
        ]  # fmt: skip
        assert "1 cell: 1 passed" in page.above


def test_hostile_reasons_are_text(project: Any) -> None:
    project.scenario("hello", verifier=HOSTILE)
    project.run("--html=r.html", "--self-contained-html").assert_outcomes(failed=1)
    page = Page(project.path / "r.html")
    ((row,),) = page.tests.values()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;&lt;/pre&gt;&lt;img" in row["log"]
    for text in (row["log"], page.above, *row["resultsTableRow"]):
        assert "<script" not in text
        assert "<img" not in text


def test_what_never_ran_has_a_verdict_and_a_scenario_that_cannot_be_loaded_a_row(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: []")
    project.scenario("hello", text=text)
    project.scenario("broken", text="id: broken\n")
    result = project.run("--execgo-chaos=kernel_crash", "--html=r.html", "--continue-on-collection-errors")
    result.assert_outcomes(skipped=1, errors=1)
    page = Page(project.path / "r.html")
    assert [len(row) for row in page.rows()] == [page.headers] * 2
    verdicts = {cells(row)[0]: cells(row)[7] for row in page.rows()}
    assert verdicts == {"Error": "", "Skipped": "skipped"}
    assert "does not allow chaos profile" in page.above


def test_a_cell_whose_worker_died_is_named_above_the_table(project: Any) -> None:
    project.scenario("zz_dies", verifier=SUICIDE)
    project.run("-n", "1", "--html=r.html").assert_outcomes(passed=1, failed=1)
    page = Page(project.path / "r.html")
    assert "Cells without a row below:" in page.above
    assert "zz_dies[langgraph-replay-none-0]: error: worker" in page.above
    assert "hello[" not in page.above


def test_it_can_be_turned_off_and_costs_others_nothing(project: Any) -> None:
    project.run("--html=r.html", "-p", "no:execgo-html").assert_outcomes(passed=1)
    page = Page(project.path / "r.html")
    assert page.headers == 4
    assert page.above == ""
    project.pytester.makepyfile("def test_other(): pass")
    project.run_plain("--html=r.html", "-p", "no:xdist").assert_outcomes(passed=1)
    page = Page(project.path / "r.html")
    assert (page.headers, page.above, page.links()) == (4, "", [])
