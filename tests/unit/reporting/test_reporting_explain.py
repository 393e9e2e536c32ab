"""What a failing cell prints, read back from its folder: nothing in there may end pytest's own run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.result import ArtifactManifest
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.plugin.texts import explain

Make = Callable[..., Any]


@pytest.fixture
def result(make_result: Make, tmp_path: Path) -> Any:
    return make_result(artifacts=ArtifactManifest(run_dir=str(tmp_path)))


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x1c"])
def test_a_line_break_that_json_keeps_is_within_its_row(odd: str, result: Any, make_event: Make, tmp_path: Path) -> None:
    row = make_event(1, 0, "task_observed", metadata={"error": f"before{odd}after"})
    (tmp_path / "timeline.jsonl").write_text(dumps(row) + "\n", "utf-8")
    assert "before" in explain(result, "again")


@pytest.mark.parametrize("torn", [b'{"seq": 1\n', b"\xff\xfe\n", b"[1]\n"])
def test_a_timeline_that_cant_be_read_is_said(torn: bytes, result: Any, tmp_path: Path) -> None:
    (tmp_path / "timeline.jsonl").write_bytes(torn)
    said = explain(result, "again")
    assert said.startswith("tests: 2 of 5 failed")
    assert "timeline.jsonl:1: this line is no JSON object" in said


def test_pytests_verbosity_is_heeded_with_and_without_a_timeline(make_result: Make, tmp_path: Path) -> None:
    verdict = Verdict(passed=False, reasons=["\n".join(f"line {number}" for number in range(50))])
    result = make_result(verdict=verdict, artifacts=ArtifactManifest(run_dir=str(tmp_path)))
    for told in (b"", b"torn\n"):
        (tmp_path / "timeline.jsonl").write_bytes(told)
        assert "more lines" in explain(result, "again")
        assert "more lines" not in explain(result, "again", 1)
