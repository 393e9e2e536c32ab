"""Which of a service's variables its commands see."""

from __future__ import annotations

from collections.abc import Mapping

ALLOWED = frozenset(("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME"))
_ALLOWED_PREFIX = "LC_"
_OURS = "EXECGO_"


def command_environment(environment: Mapping[str, str], *, inherit: bool = False) -> dict[str, str]:
    """Return what commands get of a service's environment: PATH, HOME, the language's, TZ, TMPDIR, USER, LOGNAME.

    With `inherit` it is the whole of it but the service's own variables (`EXECGO_*`), which hold tokens.
    """
    if inherit:
        return {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    return {name: value for name, value in environment.items() if name in ALLOWED or name.startswith(_ALLOWED_PREFIX)}


def inherits(environment: Mapping[str, str]) -> bool:
    """Tell whether `EXECGO_COMMAND_ENV=inherit` asks for the whole environment."""
    return environment.get("EXECGO_COMMAND_ENV", "").strip().lower() == "inherit"
