"""Finds what travels beside the code: built-in scenarios, chaos profiles, the fixtures service, report templates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pytest_execgo.core.errors import ExecGoError

BundleName = Literal["scenarios", "chaos", "fixtures_service", "reports"]

_PACKAGE = Path(__file__).resolve().parent.parent


def bundle_root() -> Path:
    """Return the folder that holds the bundled folders: inside the package in a wheel, beside it in a checkout."""
    installed = _PACKAGE / "bundle"
    return installed if installed.is_dir() else _PACKAGE.parent


def bundled(name: BundleName) -> Path:
    """Return the folder of one bundled part; `ExecGoError` if the installation lacks it."""
    path = bundle_root() / name
    if not path.is_dir():
        raise ExecGoError("bundle_missing", f"the installation lacks {name}/ (looked in {path})", "reinstall pytest-execgo")
    return path
