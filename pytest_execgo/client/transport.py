"""Why a request came to nothing, in words."""

from __future__ import annotations


def cause(error: BaseException) -> str:
    """Return the innermost reason of a requests error: 'Connection refused' rather than the pool's repr."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    inner = reason or error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
