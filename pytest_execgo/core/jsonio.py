"""JSON in and out, the same way everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Render `value` as JSON text without losing characters; NaN and infinities are refused (`ValueError`)."""
    separators = None if indent else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`: sorted keys, no spaces."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing, unreadable or malformed one is a `UsageError` that names it and the line."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError("unreadable_file", f"{path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise UsageError("malformed_json", f"{where}: {error.msg}", "the file must hold one JSON value") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UsageError("malformed_json", f"{path}: {error}", "the file must be UTF-8 JSON of sane depth") from error
