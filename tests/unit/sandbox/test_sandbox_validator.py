"""Findings: where they are, through which names, and that no code makes the validator fail."""

from __future__ import annotations

import random
import string

import pytest

from pytest_execgo.plan.sandbox import LANGUAGES, Language
from pytest_execgo.sandbox.validator import CodeValidator

VALIDATOR = CodeValidator()


def found(language: Language, code: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.code) for finding in VALIDATOR.validate(language, code)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 1\nprint(x)", []),
        ("\n\nimport subprocess", [(3, "process")]),
        ("import os\n\nos.system('ls')", [(3, "process")]),
        ("import os as o\no.system('ls')", [(2, "process")]),
        ("from os import system as s\ns('ls')", [(2, "process")]),
        ("from os import popen\npopen('ls')", [(2, "process")]),
        ("import os.path\nos.execv('/bin/sh', [])", [(2, "process")]),
        ("def f():\n    import os\n    os.system('x')\n", [(3, "process")]),
        ("f()\ndef f(): o.system('x')\nimport os as o", [(2, "process")]),
        ("eval('1')\nexec('x')", [(1, "dynamic_code"), (2, "dynamic_code")]),
        ("import builtins\nbuiltins.eval('1')", [(2, "dynamic_code")]),
        ("__import__('os')", [(1, "dynamic_code")]),
        ("import socket", [(1, "network")]),
        ("from socket import create_connection", [(1, "network")]),
        ("import ctypes", [(1, "native_code")]),
        ("import pickle\npickle.loads(b'')", [(2, "unsafe_data")]),
        ("from pickle import loads\nloads(b'')", [(2, "unsafe_data")]),
        ("open('/etc/passwd')", []),
        ("open('/etc/passwd', 'w')", [(1, "file_write")]),
        ("open('../x', mode='a')", [(1, "file_write")]),
        ("open('~/x', 'r+')", [(1, "file_write")]),
        ("open(file='/x', mode='xb')", [(1, "file_write")]),
        ("open('out.txt', 'w')\nopen('/tmp/x', 'w')\nopen('/work/x', 'w')", []),
        ("import shutil\nshutil.rmtree('x')", [(2, "file_removal")]),
        ("print('os.system is only text')  # eval(x)", []),
        ("my.system('x')\nself.eval('x')", []),
    ],
)
def test_python_is_parsed(code: str, expected: list[tuple[int, str]]) -> None:
    assert found("python", code) == expected


@pytest.mark.parametrize("code", ["def f(:\n  pass", "x = (", "print 'x'", "a\0b", "(" * 5000, "-" * 100_000 + "1", "\ud800"])
def test_what_is_no_python_is_a_finding(code: str) -> None:
    assert [kind for _, kind in found("python", code)] == ["syntax_error"]


def test_a_syntax_error_has_its_line() -> None:
    assert found("python", "x = 1\ny = = 2\n") == [(2, "syntax_error")]


def test_what_python_warns_of_is_no_finding() -> None:
    assert found("python", "x = '\\d'\nassert (1, 'x')") == []


@pytest.mark.parametrize(
    ("language", "code", "expected"),
    [
        ("javascript", "let a = 1;\nconst cp = require('child_process');", [(2, "process")]),
        ("javascript", "eval(x)", [(1, "dynamic_code")]),
        ("typescript", "import * as net from 'node:net';\nfetch('x')", [(1, "network"), (2, "network")]),
        ("go", 'import (\n  "fmt"\n  "os/exec"\n)', [(3, "process")]),
        ("rust", "fn main() {\n  unsafe { }\n}", [(2, "native_code")]),
        ("bash", "ls\ncurl http://x\nrm -rf /\n:(){ :|:& };:", [(2, "network"), (3, "file_removal"), (4, "process")]),
        ("bash", "echo hello\nrm file", []),
    ],
)
def test_other_languages_have_patterns(language: Language, code: str, expected: list[tuple[int, str]]) -> None:
    assert found(language, code) == expected


def test_findings_are_bounded() -> None:
    assert len(VALIDATOR.validate("python", "eval('1')\n" * 5000)) == 100
    assert len(VALIDATOR.validate("bash", "eval x\n" * 5000)) == 100


def test_no_code_makes_it_fail() -> None:
    draw = random.Random(7)
    for _ in range(300):
        code = "".join(draw.choices(string.printable + "\0ü", k=draw.randrange(200)))
        for language in LANGUAGES:
            assert all(finding.line >= 1 for finding in VALIDATOR.validate(language, code))
