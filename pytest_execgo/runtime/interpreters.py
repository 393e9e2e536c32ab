"""Which interpreters scripts may ask for: those of one table that this machine has."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import PurePath

from pytest_execgo.core.bodies import HttpError

KNOWN = ("sh", "bash", "dash", "ksh", "zsh", "python3", "python", "node", "perl", "ruby")
_VERSION = re.compile(r"[\d.]+$")


class Interpreters:
    """The interpreters found at start, by name."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Look the table up in the PATH that commands get."""
        path = environment.get("PATH", os.defpath)
        self.found = {name: where for name in KNOWN if (where := shutil.which(name, path=path))}

    def check(self, asked: str) -> None:
        """Raise a 400 that names the allowed ones, unless `asked` is one of them by name, or by its path."""
        name = PurePath(asked).name
        if asked in self.found:
            return
        if "/" in asked and (name in KNOWN or _VERSION.sub("", name) in KNOWN) and os.access(asked, os.X_OK):
            return
        allowed = ", ".join(self.found) or "none was found"
        raise HttpError.invalid([("$.execution.interpreter", f"{asked[:80]!r} can't be had; allowed here: {allowed}")])
