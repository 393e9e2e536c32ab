"""What the page is packed of: blocks, columns, logs' ends."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

from pytest_execgo.plan.cell import Cell
from pytest_execgo.reporting.page.blocks import Blocks
from pytest_execgo.reporting.page.columns import Texts, columns
from pytest_execgo.reporting.page.logs import Logs
from pytest_execgo.reporting.rerun import rerun_command


def opened(line: str) -> list[Any]:
    values: list[Any] = json.loads(zlib.decompress(b64decode(line), -zlib.MAX_WBITS))
    return values


def test_each_value_is_found_where_its_place_says() -> None:
    blocks = Blocks()
    values = [{"n": number, "text": "x" * 5000, "odd": "\u2028</script>\ud800"} for number in range(40)]
    places = [blocks.add(value) for value in values]
    blocks.close()
    assert len(blocks.lines) == 4  # of at least 64 KiB each, but for the last
    assert [opened(blocks.lines[block])[at] for block, at in places] == values
    assert blocks.size == sum(len(line) + 1 for line in blocks.lines)


def test_closing_without_anything_waiting_adds_no_block() -> None:
    blocks = Blocks()
    blocks.close()
    assert blocks.lines == []


def test_rows_become_columns_with_steps_of_time_and_without_what_is_empty() -> None:
    found = columns(("t", "a", "b"), [(100, 1, 0), (150, 2, 0), (150, 0, 0)])
    assert found == {"t": [100, 50, 0], "a": [1, 2, 0]}
    assert columns(("t", "a"), []) == {"t": []}


def test_a_text_has_one_number_however_often_it_comes() -> None:
    texts = Texts()
    assert [texts.number(text) for text in ("a", "", "b", "a")] == [1, 0, 2, 1]
    assert texts.table == ["", "a", "b"]


def test_a_runs_log_is_what_was_written_while_it_ran(tmp_path: Path) -> None:
    folder = tmp_path / "main"
    folder.mkdir()
    times = ["2030-01-01T00:00:01.5Z", "2030-01-01T00:00:02Z", None, "2030-01-01T00:00:02.75Z", "2030-01-01T00:00:04Z"]
    lines = [json.dumps({"time": at, "n": number}) if at else "  Traceback of 2" for number, at in enumerate(times)]
    (folder / "kernel.log").write_text("\n".join(lines) + "\n", "utf-8")
    logs = Logs(tmp_path)
    began, ended = "2030-01-01T00:00:02.000000000Z", "2030-01-01T00:00:03.000000000Z"
    assert logs.tails("main", began, ended, 10) == {"kernel": [lines[1], lines[2].strip(), lines[3]]}
    assert logs.tails("main", began, ended, 1) == {"kernel": [lines[3]]}
    assert logs.tails("another", began, ended, 10) == {}


def test_log_lines_are_cut_and_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/runtime.log").write_bytes(b"2030-01-01 00:00:02 " + b"\xff\x1b[31m" + b"y" * 5000)
    told = Logs(tmp_path).tails("s", "2030-01-01T00:00:00Z", "2030-01-01T00:00:09Z", 5)["runtime"]
    assert len(told) == 1
    assert told[0].startswith("2030-01-01 00:00:02 \ufffd\ufffd[31myyy")
    assert len(told[0]) < 280


def test_the_command_that_runs_a_cell_again_names_what_is_not_usual() -> None:
    cell = Cell("codegen", "langgraph", "replay", "kernel_crash", 3, 7)
    assert rerun_command(cell) == "pytest --execgo-matrix --execgo-cell=codegen:langgraph:replay:kernel_crash:3"
    asked = rerun_command(cell, "external", {"seed": 7, "url": "http://h/a b", "bin": None})
    assert rerun_command(cell, options={"seed": 0}).endswith(" --execgo-seed=0")
    assert asked.endswith(":3 --execgo-backend=external --execgo-seed=7 '--execgo-url=http://h/a b'")
