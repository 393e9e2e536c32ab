"""Packages that may be missing: import them by name, or say how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from pytest_execgo.core.errors import MissingDependency


def installed(module: str) -> bool:
    """Tell whether a module could be imported, without importing it."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise `MissingDependency` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            "package_missing", f"{module} is not installed ({error})", f"pip install 'pytest-execgo[{extra}]'"
        ) from error
