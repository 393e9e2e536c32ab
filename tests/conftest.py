"""What tests need of the machine. Where it isn't there they are skipped with the reason, or fail where it must be.

Nothing of the package is imported before it is needed: tests that run pytest within pytest want to import it themselves.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest

UNUSED_PLUGINS = "-p no:schemathesis -p no:hypothesispytest -p no:anyio -p no:langsmith_plugin"
"""What the runs of pytest that tests start have no use for; to load these takes several times as long as such a run itself."""


def pytest_configure() -> None:
    """Set what processes that tests start inherit."""
    os.environ["PYTEST_ADDOPTS"] = UNUSED_PLUGINS
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so does a shell that starts the tests in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _absent(reason: str) -> NoReturn:
    if os.environ.get("EXECGO_TEST_ENGINE") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """The folder `tmp_path`, which other users can enter, too; pytest makes its own, with xdist or without, for one user alone."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder is tmp_path or folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o755)
    return tmp_path


@pytest.fixture(scope="session")
def engine() -> Any:
    """The container engine's client. With EXECGO_TEST_ENGINE=required its absence is a failure."""
    from pytest_execgo.core.engine.connection import EngineMissing, connect

    try:
        return connect(timeout=60)  # what is found now holds for the whole process
    except EngineMissing as error:
        _absent(str(error))


@pytest.fixture(scope="session")
def base_image(engine: Any) -> str:
    """An image with Python on which our images can be built: PYTEST_EXECGO_BASE_IMAGE, else the official one."""
    from pytest_execgo.core.engine.images import ImageError, pull_image
    from pytest_execgo.harness.settings import DEFAULT_BASE

    name = os.environ.get("PYTEST_EXECGO_BASE_IMAGE") or DEFAULT_BASE
    try:
        pull_image(engine, name)
    except ImageError as error:
        _absent(str(error))
    return name
