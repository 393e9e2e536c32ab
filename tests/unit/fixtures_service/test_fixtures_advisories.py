"""The advisory feed that ships, and what a feed may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures_service.advisories import load_feed, normalized
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError

SHIPPED = bundled("fixtures_service") / "data"
GOOD: dict[str, Any] = {
    "id": "X-1",
    "package": "p",
    "ecosystem": "PyPI",
    "severity": "low",
    "affected": [{"introduced": "0", "fixed": None}],
    "summary": "s",
    "published": "2026-01-01",
}


def test_the_shipped_feed_holds_the_cases_that_scanners_get_wrong() -> None:
    advisories = load_feed(SHIPPED).advisories
    ids = [one.id for one in advisories]
    assert len(ids) == len(set(ids)) >= 30
    assert ids == [f"DEMO-2026-{number:04d}" for number in range(1, len(ids) + 1)]
    intervals = [interval for one in advisories for interval in one.affected]
    assert any(len(one.affected) > 2 for one in advisories), "several intervals"
    assert any(not one.affected for one in advisories), "no interval at all"
    assert any(interval.fixed is None for interval in intervals), "no fix"
    assert any(interval.introduced == interval.fixed for interval in intervals), "an empty interval"
    for part in ("rc", "a1", ".dev", ".post", "!", "+"):
        assert any(part in interval.introduced + (interval.fixed or "") for interval in intervals), part
    assert sum(one.withdrawn is not None for one in advisories) >= 2
    names = {one.package for one in advisories if one.ecosystem == "PyPI"}
    assert len({normalized(name) for name in names}) < len(names), "two spellings of one name"
    elsewhere = {normalized(one.package) for one in advisories if one.ecosystem != "PyPI"}
    assert elsewhere & set(map(normalized, names)), "a namesake in another ecosystem"


@pytest.mark.parametrize("name", ["Quick_Yaml", "quick.yaml", "QUICK--_.yaml", "quick-yaml"])
def test_spellings_of_one_name_are_equal(name: str) -> None:
    assert normalized(name) == "quick-yaml"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "must be an object"),
        ({"advisories": []}, "version"),
        ({"schema": 2, "advisories": []}, "version"),
        ({"schema": 1, "advisories": [GOOD | {"severity": "awful"}]}, r"\$\.advisories\[0\]\.severity"),
        ({"schema": 1, "advisories": [GOOD | {"more": 1}]}, r"\$\.advisories\[0\]\.more"),
        ({"schema": 1, "advisories": [GOOD | {"affected": [{"introduced": "0"}]}]}, r"affected\[0\]\.fixed"),
    ],
)
def test_a_bad_feed_is_refused_by_file_and_path(tmp_path: Path, document: Any, said: str) -> None:
    (tmp_path / "advisories.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=said) as caught:
        load_feed(tmp_path)
    assert "advisories.json" in caught.value.message


def test_a_missing_feed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"advisories\.json"):
        load_feed(tmp_path)
