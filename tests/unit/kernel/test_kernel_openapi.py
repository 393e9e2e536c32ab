"""The OpenAPI document: complete, consistent, and one row for each route."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_execgo.kernel.api import routes
from pytest_execgo.kernel.api.openapi import OPERATIONS, document
from pytest_execgo.kernel.api.openapi_shapes import SHAPES

EXTENSIONS_ONLY = ("Wait", "Waited", "History", "HistoryEvent")  # shapes that compat has no use for


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(item) for item in value.values()))
    return set[str]().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    described = {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(described) == len(OPERATIONS)
    assert described == {(method, path) for path, handlers in routes.described().items() for method in handlers}


@pytest.mark.parametrize("compat", [False, True])
def test_every_reference_leads_somewhere(compat: bool) -> None:
    parsed = json.loads(document("v1", compat=compat))
    known = {f"#/components/schemas/{name}" for name in SHAPES} | {
        f"#/components/headers/{name}" for name in ("TraceID", "NextAfter")
    }
    assert references(parsed) <= known
    used = references(parsed)
    assert {f"#/components/schemas/{name}" for name in SHAPES if name not in EXTENSIONS_ONLY} <= used
    assert parsed["openapi"] == "3.1.0"


def test_compat_leaves_the_extensions_out() -> None:
    strict, compat = (json.loads(document("v1", compat=flag)) for flag in (False, True))
    extensions = {operation.path for operation in OPERATIONS if operation.capability}
    assert set(strict["paths"]) - set(compat["paths"]) == extensions
    assert "parameters" not in json.dumps(compat["paths"]["/tasks"])
    assert [parameter["in"] for parameter in compat["paths"]["/tasks/{id}"]["get"]["parameters"]] == ["path"]


def test_every_answer_but_an_empty_one_has_a_shape() -> None:
    parsed = json.loads(document("v1"))
    for path, methods in parsed["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                assert ("content" in answer) == (status != "204"), (path, method, status)
                assert "X-Trace-ID" in answer["headers"]
            assert ("401" in operation["responses"]) == (path != "/health")
