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
_KNOWN = f"(?i:{'|'.join(PLACEHOLDERS)})"
_LOOKALIKES = [
    rf"\$?[ ]?\{{\{{\s*{_KNOWN}\s*\}}?\}}",  # {{ x }} and ${{ x }
    rf"\$?\{{\s*{_KNOWN}\s*\}}",  # ${ x } and {x}
    rf"\${_KNOWN}\b",
    rf"%{_KNOWN}%",
    rf"<{_KNOWN}>",
]
_ANY = re.compile(rf"(?P<real>{_PATTERN.pattern})|{'|'.join(_LOOKALIKES)}")
_NOTHING_ELSE = re.compile(rf"\$?[ ]?\{{\{{.*|\$\{{(?:\s+{_KNOWN}\s*|\s*{_KNOWN}\s+)\}}")
_PATH_LIKE = re.compile(r"[\w./:=@,+~-]*")
_SPELLED = re.compile(_KNOWN)


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


def meant(text: str, *, plain: bool) -> str | None:
    """Return a text with its lookalikes of placeholders (`${ workspace }`, `{{ workspace }}`, `$workspace`) put right, or None.

    None where it holds none. `plain` tells that nothing but a placeholder can be meant, as in a path; elsewhere, what may be a
    shell's or a program's own (`echo $seed`) is left alone.
    """
    found = [match[0] for match in _ANY.finditer(text) if not match["real"]]
    if not found:
        return None
    if plain or any(map(_NOTHING_ELSE.fullmatch, found)) or _PATH_LIKE.fullmatch(_ANY.sub("", text)):
        return _ANY.sub(_put_right, text)
    return None


def _put_right(match: re.Match[str]) -> str:
    name = _SPELLED.search(match[0])
    return match[0] if match["real"] or name is None else f"${{{{ {name[0].lower()} }}}}"
