r"""Dotted paths into JSON values, as bindings write them: `output.files.0`; `\.` is a dot in a key, `\\` a backslash."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.core.jsonvalue import describe, shortened, shown

Path = tuple[str, ...]

ARGUMENT_ROOTS = ("input", "params")
"""The fields of a task that a binding may set something in."""

_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")


class PathMalformed(ExecGoError):
    """The text is no path, or not one that may stand there."""

    def __init__(self, path: str, reason: str) -> None:
        hint = r"write keys with dots between: a.b.0; \. is a dot in a key"
        super().__init__("path_malformed", f"path {shortened(path, 200)!r} {reason}", hint)
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[PathMalformed], tuple[str, str]]:  # type: ignore[override]
        return (PathMalformed, (self.path, self.reason))


class PathMissing(ExecGoError):
    """Nothing is at the path. `reached` is the part of it that exists, `available` says what is there."""

    def __init__(self, path: str, reached: str, available: str) -> None:
        where = f"beneath {reached!r}" if reached else "at its start"
        super().__init__("path_missing", f"path {path!r} leads nowhere: {where} there is {available}")
        self.path = path
        self.reached = reached
        self.available = available

    def __reduce__(self) -> tuple[type[PathMissing], tuple[str, str, str]]:
        return (PathMissing, (self.path, self.reached, self.available))


class PathBlocked(ExecGoError):
    """Nothing can be set at the path: what is at `reached` can't hold it."""

    def __init__(self, path: str, reached: str, reason: str) -> None:
        super().__init__("path_blocked", f"path {path!r} can't be set: {reached!r} {reason}")
        self.path = path
        self.reached = reached
        self.reason = reason

    def __reduce__(self) -> tuple[type[PathBlocked], tuple[str, str, str]]:
        return (PathBlocked, (self.path, self.reached, self.reason))


def parse_path(text: str) -> Path:
    """Split a dotted path into its keys; `PathMalformed` for an empty key or an unknown escape."""
    parts = [""]
    chars = iter(text)
    for char in chars:
        if char == "\\":
            escaped = next(chars, None)
            if escaped not in (".", "\\"):
                reason = "ends in a lone backslash" if escaped is None else f"holds an unknown escape, \\{escaped}"
                raise PathMalformed(text, reason)
            parts[-1] += escaped
        elif char == ".":
            parts.append("")
        else:
            parts[-1] += char
    if "" in parts:
        raise PathMalformed(text, f"has an empty key at position {parts.index('') + 1}" if text else "is empty")
    return tuple(parts)


def format_path(parts: Sequence[str]) -> str:
    """Render keys as the dotted path that `parse_path` splits into them again."""
    return ".".join(part.replace("\\", "\\\\").replace(".", "\\.") for part in parts)


def get_path(document: Any, path: str | Path) -> Any:
    """Return the value at a path: keys of objects, and indices (from 0) of lists; `PathMissing` tells how far it got."""
    parts = parse_path(path) if isinstance(path, str) else path
    value = document
    for depth, part in enumerate(parts):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and _INDEX.match(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            raise PathMissing(format_path(parts), format_path(parts[:depth]), available(value))
    return value


def set_path(document: Any, path: str | Path, value: Any) -> None:
    """Set the value at a path in place, making the objects that are missing on the way (null counts as missing).

    A list takes an index that it has, or its length to append. `PathBlocked` where the path goes through a plain value or
    past a list's end; the document is then unchanged.
    """
    parts = parse_path(path) if isinstance(path, str) else path
    holder = document
    for depth, part in enumerate(parts[:-1], start=1):
        key = _slot(holder, parts, depth - 1)
        if isinstance(holder, list) and key == len(holder):
            holder.append({})
        elif holder[key] is None if isinstance(holder, list) else holder.get(part) is None:
            holder[key] = {}
        holder = holder[key]
    key = _slot(holder, parts, len(parts) - 1)
    if isinstance(holder, list) and key == len(holder):
        holder.append(value)
    else:
        holder[key] = value


def _slot(holder: Any, parts: Path, depth: int) -> Any:
    """Return the key or index under which `holder` keeps the path's part at `depth`."""
    part = parts[depth]
    if isinstance(holder, dict):
        return part
    reached = format_path(parts[:depth])
    if not isinstance(holder, list):
        raise PathBlocked(format_path(parts), reached, f"is {describe(holder)}, which has nothing beneath it")
    if not _INDEX.match(part) or int(part) > len(holder):
        raise PathBlocked(format_path(parts), reached, f"is {describe(holder)}; {part!r} must be an index from 0 to {len(holder)}")
    return int(part)


def available(value: Any) -> str:
    """Say what could have been named instead: an object's keys, a list's length, or the plain value that is there."""
    if isinstance(value, dict):
        keys = ", ".join(shown(key, 40) for key in list(value)[:20])
        more = f", … ({len(value) - 20} more)" if len(value) > 20 else ""
        return f"an object with {keys}{more}" if value else "an empty object"
    return f"a list of {len(value)}" if isinstance(value, list) else describe(value)


def bind_value(task_document: dict[str, Any], target_param_path: str, value: Any) -> None:
    """Set a bound value in a task's `input` or `params`, in place; the value is copied, never shared.

    Environment variables are text: a value that is none becomes compact JSON when it is set at `….env.NAME`, and so does
    each value of an object that is set at `….env`. The same holds for `execution.files`, `execution.env_vars` and
    `execution.stdin`. `PathMalformed`; `PathBlocked`, also for a NaN, which no JSON text can hold.
    """
    parts = parse_target(target_param_path)
    try:
        if (len(parts) > 2 and _holds_texts(parts[:-1])) or parts[1:] == ("execution", "stdin"):
            value = _as_text(value)
        elif len(parts) > 1 and _holds_texts(parts) and isinstance(value, dict):
            value = {name: _as_text(item) for name, item in value.items()}
    except ValueError as error:
        reason = f"takes text, and the value can't be written as JSON ({error})"
        raise PathBlocked(target_param_path, format_path(parts[:-1]), reason) from error
    set_path(task_document, parts, copy.deepcopy(value))


def parse_target(target_param_path: str) -> Path:
    """Split a binding's target path; `PathMalformed` unless it starts in a task's `input` or `params`."""
    parts = parse_path(target_param_path)
    if parts[0] not in ARGUMENT_ROOTS:
        raise PathMalformed(target_param_path, f"starts with {parts[0]!r}; allowed: {' or '.join(ARGUMENT_ROOTS)}")
    return parts


def _holds_texts(parts: Path) -> bool:
    return parts[-1] == "env" or parts[1:] in (("execution", "env_vars"), ("execution", "files"))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
