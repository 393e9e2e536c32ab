"""The collector that traces are sent to: whether its URL can be one, whether what sends is installed."""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import urlsplit

from pytest_execgo.core.errors import MissingDependency, UsageError

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check_exporter() -> None:
    """Raise `MissingDependency`, with the command that installs it, where the extra `otel` is not installed; it is not imported."""
    for module in _NEEDED:
        try:
            there = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # not even what it is part of
            there = False
        if not there:
            raise MissingDependency("package_missing", f"{module} is not installed", "pip install 'pytest-execgo[otel]'")


def collector(option: str, url: str) -> str:
    """Return a collector's URL if traces can be sent there; `UsageError` for what is no URL, and without the extra `otel`."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        said = f"{option}: {url!r} can't be used"
        raise UsageError("bad_value", said, "give the URL of an OTLP/HTTP collector, as http://localhost:4318")
    try:
        check_exporter()
    except MissingDependency as error:
        raise UsageError(error.code, f"{option}: {error.message}", error.hint) from error
    return url.strip()


def shown(url: str) -> str:
    """Return a collector's URL as it may stand in a log: without a user's name and password."""
    return re.sub(r"(?<=//)[^/@]*@", "", url)
