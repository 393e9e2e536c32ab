"""`serve kernel|runtime|fixtures`: become one of the services."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from importlib import import_module

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError

SERVICES = {
    "kernel": "pytest_execgo.kernel.server",
    "runtime": "pytest_execgo.runtime.server",
    "fixtures": "fixtures_service.server",
}


def main(argv: list[str]) -> int:
    """Serve until stopped; every option after the name is the service's own (`serve kernel --help`)."""
    gc.disable()  # what is imported stays, so that looking for garbage meanwhile is for nothing; `core.serving` enables it
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m pytest_execgo serve {kernel,runtime,fixtures} [the service's own options]")
        return 0 if argv else 2
    name, *rest = argv
    if name not in SERVICES:
        raise UsageError.unknown("service", name, SERVICES)
    if name == "fixtures":
        sys.path.insert(0, str(bundled("fixtures_service").parent))
    service: Callable[[list[str]], int] = import_module(SERVICES[name]).main
    return service(rest)
