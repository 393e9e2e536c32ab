"""Records a command on a terminal: what it wrote, as asciicast v2 (`.cast`), and its last screen, as a picture of text (`.svg`).

The command is really run, on a pseudo terminal, in a folder of its own that begins as a copy of `--project`; the
recording calls that folder `~/plans`.
`python reports/record_session.py --out docs/images/session -- pytest --execgo-matrix` makes both files anew.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.files import write_atomic

SHOWN_AS = "~/plans"
_GROUND, _INK = "#0d1117", "#c9d1d9"
_COLOURS = {
    "black": "#484f58",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": _INK,
}
_CELL, _LINE, _EDGE = 8.4, 18, 16  # px: a character's width, a line's height, the margin; at 14 px

Piece = tuple[float, str]
"""Seconds since the command began, and what it then wrote."""


def record(command: Sequence[str], folder: Path, columns: int, lines: int) -> tuple[list[Piece], int]:
    """Run a command on a terminal of that size; return what it wrote and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    shell = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
    environment = {name: value for name, value in shell.items() if not name.startswith(("PYTEST_", "GITHUB_", "CI"))}
    began = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        pieces = [(time.monotonic() - began, text.replace(str(folder), SHOWN_AS)) for text in _written(ours)]
    os.close(ours)
    return pieces, process.returncode


def _written(terminal: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody has the other end open any more
            return
        if not data:
            return
        yield decoder.decode(data)


def cast(pieces: Sequence[Piece], title: str, columns: int, lines: int) -> str:
    """Return a recording as asciicast v2: a header, then one event for each piece."""
    head = {"version": 2, "width": columns, "height": lines, "title": title, "env": {"TERM": "xterm-256color"}}
    rows = [head, *([round(seconds, 3), "o", text] for seconds, text in pieces)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def last_screen(pieces: Sequence[Piece], columns: int, lines: int) -> list[list[Char]]:
    """Return what the terminal shows at the end: rows of characters, without the empty rows below."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.Stream(screen)
    for _, text in pieces:
        stream.feed(text)
    rows = [[screen.buffer[line][column] for column in range(columns)] for line in range(lines)]
    while rows and not "".join(char.data for char in rows[-1]).strip():
        rows.pop()
    return rows


def svg(rows: Sequence[Sequence[Char]], title: str) -> str:
    """Return a screen as an SVG of plain text: nothing is loaded, and it can be selected and searched."""
    width = round(max((len(row) for row in rows), default=0) * _CELL) + 2 * _EDGE
    height = len(rows) * _LINE + 2 * _EDGE
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        f'<title>{escape(title)}</title><rect width="{width}" height="{height}" rx="8" fill="{_GROUND}"/>',
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" fill="{_INK}">',
    ]
    for number, row in enumerate(rows):
        drawn += [_span(start, text, _EDGE + (number + 0.75) * _LINE, style) for start, text, style in _runs(row)]
    return "\n".join([*drawn, "</g></svg>", ""])


def _runs(row: Sequence[Char]) -> Iterator[tuple[int, str, tuple[str, bool]]]:
    """Yield the stretches of a row that look alike: column, text, colour and whether bold."""
    column = 0
    for style, chars in groupby(row, key=lambda char: (char.fg, char.bold)):
        text = "".join(char.data for char in chars)
        if text.strip():
            yield column, text.rstrip(), style
        column += len(text)


def _span(column: int, text: str, y: float, style: tuple[str, bool]) -> str:
    colour = _COLOURS.get(style[0].removeprefix("bright"), f"#{style[0]}" if len(style[0]) == 6 else _INK)
    paint = "" if colour == _INK else f' fill="{colour}"'
    weight = ' font-weight="bold"' if style[1] else ""
    place = f'x="{_EDGE + column * _CELL:.1f}" y="{y:g}" textLength="{len(text) * _CELL:.1f}"'
    shown = escape(text, quote=False).replace(" ", "\u00a0")  # other spaces are drawn as one, whatever the attributes say
    return f"<text {place}{paint}{weight}>{shown}</text>"


def main() -> int:
    """Record a command and write `OUT.cast` and `OUT.svg`; return the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="path of both files, without the ending")
    parser.add_argument("--project", type=Path, help="the folder to begin with (default: one with the built-in scenarios)")
    parser.add_argument("--columns", type=int, default=88)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("command", nargs="+", help="what to run, after --")
    options = parser.parse_args()
    title = "$ " + shlex.join(options.command)
    words = [sys.executable, "-m", *options.command] if options.command[0] == "pytest" else options.command
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "plans"
        if options.project:
            shutil.copytree(options.project, folder)
        else:
            folder.mkdir()
            for part in ("scenarios", "chaos"):
                shutil.copytree(bundled(part), folder / part)
        pieces, code = record(words, folder, options.columns, options.lines)
    pieces = [(0.0, f"\x1b[1m{title}\x1b[0m\r\n"), *pieces]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out.with_suffix(".cast"), cast(pieces, title, options.columns, options.lines))
    write_atomic(options.out.with_suffix(".svg"), svg(last_screen(pieces, options.columns, options.lines), title))
    return code


if __name__ == "__main__":
    sys.exit(main())
