"""What stands above pytest-html's table, and the links in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from pytest_execgo.plan.statistics import GateResult, Interval, SweepStatistics
from pytest_execgo.reporting.columns import address, links
from pytest_execgo.reporting.summary_block import summary_block

Make = Callable[..., Any]


class Page(HTMLParser):
    """Collects tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.lines: list[str] = []
        self.hrefs: list[str | None] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.hrefs += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.lines.append(data)


def test_the_sweep_in_a_few_lines(make_result: Make, make_summary: Make) -> None:
    statistics = SweepStatistics(runs=3, pass_rate=1 / 3, pass_interval=Interval(low=0.1, high=0.8))
    gates = [GateResult(condition="lost<=0", passed=True, value=0)]
    runs = [
        make_result(outcome="skipped", verdict=None, error="no crewai"),
        make_result(outcome="error", verdict=None, error="gone"),
    ]
    summary = make_summary([], runs, cells=3, passed=1, error=1, skipped=1).model_copy(
        update={"statistics": statistics, "gates": gates}
    )
    pieces = summary_block(summary, [("report.html", "./var/report.html")], [runs[1]])
    page = Page("".join(pieces))
    assert page.lines == [
        "execgo",
        "3 cells: 1 passed, 1 error, 1 skipped in 8.20 s",
        "pass rate 33.3% (95% interval 10.0% to 80.0%)",
        "Gates:",
        "gate PASS lost<=0 (0)",
        "Skipped:",
        "1 cell: no crewai",
        "Cells without a row below:",
        "codegen_exec[langgraph-replay-none-0]: error: gone",
        "report.html",
    ]
    assert page.hrefs == ["./var/report.html"]


def test_long_lists_are_cut(make_result: Make, make_summary: Make) -> None:
    lost = [make_result(outcome="error", verdict=None, error="gone")] * 25
    lines = Page("".join(summary_block(make_summary([], lost), [], lost))).lines
    assert sum("gone" in line for line in lines) == 20
    assert lines[-1] == "… and 5 more"


def test_hostile_texts_are_text(hostile: str, make_result: Make, make_summary: Make) -> None:
    run = make_result(outcome="skipped", verdict=None, error=hostile)
    page = Page("".join(summary_block(make_summary([], [run], skipped=1, cells=1), [], [run])))
    assert set(page.tags) == {"h2", "p", "ul", "li"}
    assert not hostile.startswith("<") or "<script>" in "".join(page.lines)


@pytest.mark.parametrize(
    ("target", "start", "said"),
    [
        ("/a/var/runs/r", "/a", "./var/runs/r"),
        ("/a/var/runs/r", "/a/out/deep", "../../var/runs/r"),
        ("/a/x:y", "/a", "./x%3Ay"),
        ('/a/"><script>', "/a", "./%22%3E%3Cscript%3E"),
        ("/a/b c#d?e%f&g'h", "/a", "./b%20c%23d%3Fe%25f%26g%27h"),
        ("/a/größe", "/a", "./gr%C3%B6%C3%9Fe"),
    ],
)
def test_addresses_are_relative_and_fit_for_an_attribute(target: str, start: str, said: str) -> None:
    assert address(Path(target), Path(start)) == said
    assert re.fullmatch(r"[A-Za-z0-9_.~%/-]+", said)
    assert (Path(start) / unquote(said)).resolve() == Path(target)


def test_a_run_links_what_is_there(tmp_path: Path) -> None:
    run = tmp_path / "var" / "run-1"
    run.mkdir(parents=True)
    (run / "result.json").touch()
    assert links(run, tmp_path) == [("result.json", "./var/run-1/result.json"), ("folder", "./var/run-1/")]
