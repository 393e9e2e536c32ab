"""The one root of every error that this project raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Self


class ExecGoError(Exception):
    """Something that we or the machine could not do, or a user's mistake.

    `code` is machine readable (snake_case), `message` says what is wrong and where, `hint` what would be right.
    A verdict on a plan is not one of these: see `VerificationFailed`.
    """

    exit_code = 3
    """Exit code of the command line when this error ends it."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # the third part is what subclasses and `add_note` added; pickle sets it on what `_rebuild` returns
        return (_rebuild, (type(self), self.code, self.message, self.hint), vars(self))  # type: ignore[return-value]


def _rebuild(cls: type[ExecGoError], code: str, message: str, hint: str) -> ExecGoError:
    error = cls.__new__(cls)
    ExecGoError.__init__(error, code, message, hint)
    return error


class UsageError(ExecGoError):
    """A value that the user gave can't be used: an option, a file, a name."""

    exit_code = 2

    @classmethod
    def unknown(cls, what: str, value: str, allowed: Iterable[str]) -> Self:
        """Build the error for a name that is not among the allowed ones, offering the nearest match."""
        names = sorted(allowed)
        near = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(names) or "none"
        return cls(f"unknown_{what.replace(' ', '_')}", f"unknown {what} {value!r}", f"{guess}allowed: {known}")

    @classmethod
    def unreadable(cls, path: Path | str, error: OSError) -> Self:
        """Build the error for a file or folder that the system lets nobody, or not this user, read."""
        hint = "make it readable for this user" if isinstance(error, PermissionError) else ""
        return cls("unreadable_file", f"{path}: {error.strerror or error}", hint)

    @classmethod
    def malformed(cls, path: Path, line: int, column: int, what: str, hint: str = "") -> Self:
        """Build the error for a file whose text can't be understood; line and column count from 1."""
        return cls("malformed_file", f"{path}:{line}:{column}: {what}", hint)


class MissingDependency(ExecGoError):
    """An optional package, program or service is not there."""


class Unsupported(ExecGoError):
    """What was asked for exists, but not in this version or on this backend."""


class SandboxError(ExecGoError):
    """Code could not be confined or started; nothing of it has run, and the message says what is missing."""


class VerificationFailed(AssertionError):
    """The plan failed: its scenario's verifier, or its execution, says so. A test failure, never an error of ours."""


class StackError(ExecGoError):
    """A service could not be started, died, or can't be reached; the message names it and where its log is."""
