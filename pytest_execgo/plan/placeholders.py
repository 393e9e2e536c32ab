"""`${{ name }}` in a plan's strings: what is known only when a run starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDERS = {
    "workspace": "absolute path of the run's workspace",
    "fixtures_url": "base URL of the fixtures service",
    "run_id": "identity of the run",
    "seed": "seed of the cell",
}

_PATTERN = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")


def placeholders_in(value: Any) -> set[str]:
    """Return every placeholder name in the strings of a JSON value, keys included."""
    if isinstance(value, str):
        return set(_PATTERN.findall(value))
    if isinstance(value, Mapping):
        return set().union(*(placeholders_in(part) for item in value.items() for part in item))
    if isinstance(value, list):
        return set().union(*map(placeholders_in, value))
    return set()


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """Return a copy of a JSON value with every known placeholder replaced; unknown ones stay as they are."""
    if isinstance(value, str):
        return _PATTERN.sub(lambda match: values.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: fill(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    return value
