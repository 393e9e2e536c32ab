from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.harness import logtail
from pytest_execgo.harness.logtail import last_lines


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\n", 5, "a\n"),
        ("", 5, ""),
        ("a\n\n\n", 2, "\n\n"),
        ("a\nb\n", 0, ""),
    ],
)
def test_last_lines(tmp_path: Path, text: str, count: int, expected: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert last_lines(log, count) == expected


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_lines_that_cross_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(logtail, "_BLOCK", block)
    log = tmp_path / "log"
    log.write_text("".join(f"line number {n}\n" for n in range(30)))
    assert last_lines(log, 3) == "line number 27\nline number 28\nline number 29\n"


def test_what_was_written_before_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\nnew\n")
    assert last_lines(log, 10, since=4) == "new\n"


def test_a_line_without_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "_MOST", 100)
    log = tmp_path / "log"
    log.write_text("x" * 1000)
    assert last_lines(log, 1) == "x" * 100


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none", 5) == ""


def test_bytes_that_are_not_text_are_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff ok\n")
    assert last_lines(log, 1) == "\N{REPLACEMENT CHARACTER} ok\n"
