"""JSON in and out, the same way everywhere."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import clean_json, path_text

_HALF_PAIR = re.compile("[\ud800-\udfff]")


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Render `value` as JSON text without losing characters; NaN and infinities are refused (`ValueError`)."""
    separators = None if indent else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`: sorted keys, no spaces."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def loads(text: str | bytes) -> Any:
    """Parse JSON that a service or a command wrote, such that it can be stored and sent on, whatever it holds.

    Half a surrogate pair becomes U+FFFD, as Go's reader has it. `ValueError` for what is no JSON, and for what other readers
    would refuse or lose: NaN, numbers that no double holds, nesting deeper than 100 levels (see `clean_json`).
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("the value is nested too deeply") from error
    faults = [fault for fault in clean_json(value)[1] if fault.code != "bad_text"]
    if faults:
        raise ValueError(f"{path_text(faults[0].parts)} {faults[0].message}")
    return _mended(value)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list) else value


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing, unreadable or malformed one is a `UsageError` that names it and the line."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError("unreadable_file", f"{path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise UsageError("malformed_json", f"{where}: {error.msg}", "the file must hold one JSON value") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or an integer of thousands of digits
        raise UsageError("malformed_json", f"{path}: {error}", "the file must be UTF-8 JSON of sane depth") from error
