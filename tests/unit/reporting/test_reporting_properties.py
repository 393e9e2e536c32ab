"""Properties for JUnit, and the columns that pytest-html makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_execgo.plan.result import ArtifactManifest, RunMetrics
from pytest_execgo.reporting.columns import COLUMNS, cells, headers
from pytest_execgo.reporting.junit import properties

Make = Callable[..., Any]


def test_properties_name_the_cell_its_end_its_figures_and_its_file(make_result: Make) -> None:
    assert properties(make_result()) == [
        ("execgo.run_id", "run-1"),
        ("execgo.cell_id", "0123456789abcdef"),
        ("execgo.scenario", "codegen_exec"),
        ("execgo.framework", "langgraph"),
        ("execgo.mode", "replay"),
        ("execgo.chaos", "none"),
        ("execgo.repetition", "0"),
        ("execgo.outcome", "failed"),
        ("execgo.plan_validity", "1"),
        ("execgo.wall_time_ms", "120.5"),
        ("execgo.critical_path_ms", "60"),
        ("execgo.overhead", "2.01"),
        ("execgo.retry_count", "0"),
        ("execgo.attribution", "runtime: exit_nonzero"),
        ("execgo.result", "var/runs/run-1/result.json"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1 / 3, "0.333333"), (1234567.891, "1234567.891"), (1e-9, "0"), (100.0, "100"), (1e17, "1" + "0" * 17)],
)
def test_figures_are_plain_decimals(value: float, text: str, make_result: Make) -> None:
    assert dict(properties(make_result(metrics=RunMetrics(wall_time_ms=value))))["execgo.wall_time_ms"] == text


def test_every_metric_that_applies_is_a_property(make_result: Make) -> None:
    figures: dict[str, Any] = {name: 3 if "count" in name or "tokens" in name else 0.5 for name in RunMetrics.model_fields}
    names = {name for name, _ in properties(make_result(metrics=RunMetrics(**figures)))}
    assert {f"execgo.{name}" for name in RunMetrics.model_fields} <= names


def test_hostile_values_are_xml(hostile: str, make_result: Make) -> None:
    result = make_result(artifacts=ArtifactManifest(run_dir=f"runs/{hostile}\ufffe"), cell_id=hostile)
    made = properties(result)
    root = ElementTree.Element("properties")
    for name, value in made:
        ElementTree.SubElement(root, "property", name=name, value=value)
    read = ElementTree.fromstring(ElementTree.tostring(root, "utf-8"))
    assert [(item.get("name"), item.get("value")) for item in read] == made


class Tags(HTMLParser):
    """Collects every tag and all text of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    return parser


def test_cells_show_what_the_properties_say(make_result: Make) -> None:
    metrics = RunMetrics(wall_time_ms=120.5, overhead=2.01, recovery_time_ms=35.0)
    made = cells(properties(make_result(metrics=metrics)))
    shown = ["codegen_exec", "langgraph", "replay", "none", "failed", "120 ms", "2.0x", "35.0 ms"]
    assert [parse(cell).text for cell in made] == shown
    assert all(re.match(r'<td class="[^"]*\bcol-execgo-', cell) for cell in made)
    assert 'col-execgo-wall-time"' in made[5]


def test_a_test_of_somebody_else_gets_empty_cells() -> None:
    made = cells([("other", 1), ("execgo", "x"), ("Execgo.scenario", "x")])
    assert [parse(cell).text for cell in made] == [""] * len(COLUMNS)
    assert len(headers()) == len(made) == len(COLUMNS)
    assert [parse(header).text for header in headers()] == list(COLUMNS)


def test_hostile_properties_are_text(hostile: str) -> None:
    names = ("scenario", "framework", "mode", "chaos", "outcome", "wall_time_ms", "overhead", "recovery_time_ms")
    for cell in cells([(f"execgo.{name}", hostile) for name in names]):
        parsed = parse(cell)
        assert [tag for tag, _ in parsed.tags] == ["td"]
        assert "\n" not in cell
        assert not hostile.startswith("<") or "<script>" in parsed.text


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "12,5", "soon", "9" * 400, None, [1], {"a": 1}])
def test_a_foreign_wall_time_is_shown_as_it_is_or_not_at_all(value: object) -> None:
    text = parse(cells([("execgo.wall_time_ms", value)])[5]).text
    assert text == ("" if value is None else text)
    assert not text.endswith(" s")


def test_sortable_columns_carry_the_key_that_pytest_html_sorts_by(make_result: Make) -> None:
    """pytest-html reads a cell's key with this expression, and only under a header that is sortable."""
    keys = []
    for header, cell in zip(headers(), cells(properties(make_result())), strict=True):
        attributes = parse(header).tags[0][1]
        if attributes.get("class") == "sortable":
            match = re.search(r"col-(\w+)", cell)
            assert match is not None
            assert match[1] == attributes["data-column-type"]
            keys.append(match[1])
    assert len(set(keys)) == len(keys) == 5


def test_columns_cost_a_foreign_run_no_pydantic() -> None:
    code = "import sys, pytest_execgo.reporting.columns as c; c.cells([]); c.headers(); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
