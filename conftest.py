"""What this repository's own tests share. Scenarios need nothing from here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """Run `python -m pytest_execgo …` in an empty folder, as a user would."""

    def call(*arguments: str, cwd: Path = tmp_path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "pytest_execgo", *arguments]
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)

    return call
