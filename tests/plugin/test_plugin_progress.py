"""The line beneath pytest's output: seen on a terminal while cells run, and never a trace of it in what stays there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from typing import Any

import pyte
import pytest

DRAWN = re.compile(rb"\r\nexecgo (\d+)/(\d+)")
SUICIDE = "import os\n\n\ndef verify(context):\n    os.kill(os.getpid(), 9)\n"


def on_terminal(project: Any, *arguments: str, columns: int = 80, variables: Mapping[str, str] | None = None) -> bytes:
    """Run a sweep of `project` on a terminal of its own and return all that was written to it."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    colours = {"NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI", "BUILD_NUMBER", "COLUMNS", "LINES"}
    environment = {name: value for name, value in os.environ.items() if name not in colours} | {
        "TERM": "xterm",
        **(variables or {}),
    }
    command = [sys.executable, "-m", "pytest", "--execgo-matrix", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments]
    process = subprocess.Popen(command, cwd=project.path, stdin=inner, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    written = b""
    with os.fdopen(outer, "rb", buffering=0) as terminal:
        while True:
            try:
                chunk = terminal.read(65_536)
            except OSError:  # its other end is closed
                break
            written += chunk
    process.wait(60)
    return written


def transcript(written: bytes, columns: int = 80) -> list[str]:
    """Return the lines that a terminal shows in the end, with those that have scrolled away."""
    screen = pyte.HistoryScreen(columns, 24, history=10_000)
    pyte.ByteStream(screen).feed(written)
    gone = ["".join(line[column].data for column in range(columns)) for line in screen.history.top]
    return [line.rstrip() for line in (*gone, *screen.display)]


def figureless(lines: list[str]) -> str:
    """Return a transcript up to our table without what differs from run to run: times, and what is laid out by their lengths."""
    table = next(index for index, line in enumerate(lines) if re.fullmatch("=+ execgo =+", line))
    text = re.sub(r"\d+(\.\d+)?", "N", "\n".join(lines[: table + 1]))
    return re.sub(r"[ =]+", " ", re.sub(r"N (ms|s)\b", "N", text)).strip()


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (["-p", "no:xdist"], 80),
        (["-p", "no:xdist", "-v"], 120),  # so wide that no figure breaks a line
        (["-p", "no:xdist", "-vv"], 70),
        (["-p", "no:xdist", "-o", "console_output_style=classic", "--execgo-repeat=15"], 40),
        (["-n", "1", "-v"], 100),
    ],
    ids=["letters", "verbose", "lines that wrap", "letters that wrap", "xdist"],
)
def test_what_stays_on_the_terminal_is_pytests_alone(project: Any, arguments: list[str], columns: int) -> None:
    project.scenario(
        "zz_bad", verifier="from pytest_execgo import Verdict\n\n\ndef verify(context):\n    return Verdict.of(['no'])\n"
    )
    arguments = ["--execgo-framework=langgraph", "--tb=no", "-rN", "--execgo-out=out", *arguments]
    with_line = on_terminal(project, *arguments, columns=columns)
    without = on_terminal(project, *arguments, "--execgo-progress=off", columns=columns)
    assert DRAWN.search(with_line)
    assert not DRAWN.search(without)
    shown = transcript(with_line, columns)
    assert not [line for line in shown if re.match(r"execgo \d+/", line)]
    assert figureless(shown) == figureless(transcript(without, columns))


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
def test_it_counts_up_to_the_last_cell(project: Any, mode: list[str]) -> None:
    project.pytester.makepyfile(test_own="def test_own(): pass")
    written = on_terminal(project, *mode, "scenarios", "test_own.py")
    counts = [(int(done), int(total)) for done, total in DRAWN.findall(written)]
    assert counts == sorted(counts)
    assert counts[0] == (0, 3)
    assert counts[-1] == (3, 3)
    assert b"execgo 0/3 | hello[" in written
    assert b"execgo 3/3: 3 passed" in written


def test_a_crash_and_failures_are_counted_and_nothing_of_xdist_is_lost(project: Any) -> None:
    project.scenario("zz_dies", verifier=SUICIDE)
    written = on_terminal(project, "-n", "1", "--execgo-framework=langgraph", "--tb=no", columns=120)
    assert b"execgo 2/2: 1 passed, 1 error" in written
    shown = "\n".join(transcript(written, 120))
    assert "\nreplacing crashed worker gw0" in shown
    assert not re.search(r"^execgo \d+/", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ([], {}),
        (["-q"], {}),
        (["-s"], {}),
        (["--color=no"], {}),
        ([], {"PYTEST_EXECGO_PROGRESS": "off"}),
        (["-o", "execgo_progress=off"], {}),
        (["-p", "no:execgo-progress"], {}),
    ],
)
def test_where_it_would_be_in_the_way_there_is_none(project: Any, arguments: list[str], variables: dict[str, str]) -> None:
    """A cell that is skipped is one, too, and needs no services."""
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: []")
    project.scenario("hello", text=text)
    always = ["--execgo-framework=langgraph", "--execgo-chaos=kernel_crash", "-p", "no:xdist"]
    written = on_terminal(project, *always, *arguments, variables=variables)
    assert b"1 skipped" in written
    assert (b"execgo 0/1" in written) is (not arguments and not variables)


def test_a_log_has_none(project: Any) -> None:
    result = project.pytester.runpytest_subprocess("--execgo-matrix", "--execgo-framework=langgraph", "--color=yes")
    assert "execgo 0/1" not in result.stdout.str()
