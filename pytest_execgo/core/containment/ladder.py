"""How commands are isolated: the rungs of a ladder, each found out by trying, and the one that a command gets.

A rung is words in front of a command: `bwrap …`, `unshare …`, our `landlock.py`; nothing for `plain`. Unless `plain` is asked
for, a service that runs as root makes commands an ordinary user's, where that one may write to the working folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_NOBODY = 65534
_PROBE_TIMEOUT = 10.0
_LANDLOCK = str(Path(__file__).resolve().with_name("landlock.py"))
REQUESTS = ("auto", "plain", "namespace", "bubblewrap", "landlock", "strict")
"""What can be asked for. `auto` is the best there is; `strict` too, and nothing less: it fails where anything is missing."""


class Rung(StrEnum):
    """A way to isolate commands, the strongest first."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACE = "namespace"
    LANDLOCK = "landlock"
    PLAIN = "plain"


class SandboxUnavailable(Exception):
    """What was asked for can't be had, and less was not wanted; `reasons` says why."""

    def __init__(self, requested: str, reasons: tuple[str, ...]) -> None:
        super().__init__(f"isolation {requested!r} can't be had here: {'; '.join(reasons)}")
        self.requested = requested
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a command gets: `prefix` goes before its own words; `uid` is the user that it becomes, None: the service's."""

    requested: str
    effective: Rung
    fallback_reasons: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def shown(self) -> dict[str, Any]:
        """Return the `isolation` object of an answer."""
        reasons = list(self.fallback_reasons)
        return {"requested": self.requested, "effective": str(self.effective), "fallback_reasons": reasons, "uid": self.uid}

    def wrap(self, argv: list[str], path: str) -> list[str]:
        """Return the command line to start; `FileNotFoundError` for a program that is not on `path`, as its start would raise."""
        if self.prefix and shutil.which(argv[0], path=path) is None:
            raise FileNotFoundError(2, os.strerror(2), argv[0])
        return [*self.prefix, *argv]


PLAIN = Isolation("plain", Rung.PLAIN)


class Ladder:
    """The rungs of this machine. A rung is tried when it is first asked for; the answer holds as long as the service lives."""

    def __init__(self, request: str = "plain") -> None:
        self.request = request
        self._tried: dict[str, str] = {}
        self._lock = threading.Lock()

    def choose(self, request: str, cwd: str, *, strict: bool = False) -> Isolation:
        """Return the isolation for a command that works in `cwd`; blocks while rungs are tried.

        `SandboxUnavailable` when the request, or `strict` beside it, refuses the fallbacks that would be needed.
        """
        if request == "plain":
            return PLAIN
        first = Rung.BUBBLEWRAP if request in ("auto", "strict") else Rung(request)
        reasons: list[str] = []
        prefix: tuple[str, ...] = ()
        for rung in list(Rung)[list(Rung).index(first) :]:
            problem = self.problem(rung)
            if not problem:
                effective, prefix = rung, _words(rung)
                break
            reasons.append(f"{rung}: {problem}")
        refused = strict or request == "strict"
        if request in ("auto", "strict") and effective in (Rung.BUBBLEWRAP, Rung.NAMESPACE):
            reasons.clear()  # either is what was asked for
        drop, uid = self._drop(cwd or os.getcwd(), reasons)  # noqa: PTH109
        words = (*drop, *prefix) if effective is Rung.BUBBLEWRAP else (*prefix, *drop)
        if drop and prefix and (problem := self._try(f"{effective} and setpriv", words, _PROOFS[effective])):
            reasons.append(f"uid: {problem}")
            words, uid = prefix, None
        if refused and reasons:
            raise SandboxUnavailable(request, tuple(reasons))
        return Isolation(request, effective, tuple(reasons), words, uid)

    def problem(self, rung: Rung) -> str:
        """Try a rung, once; return why it can't be used, "" if it can."""
        return "" if rung is Rung.PLAIN else self._try(rung, _words(rung), _PROOFS[rung])

    def describe(self) -> dict[str, Any]:
        """Return what GET /api/v1/runtime/capabilities tells: the default, what it amounts to, and each rung's state."""
        rungs = {str(rung): {"available": not problem, "reason": problem} for rung in Rung for problem in (self.problem(rung),)}
        try:
            chosen = self.choose(self.request, "/tmp").shown()  # noqa: S108 - only a folder that anybody may write to
        except SandboxUnavailable as refusal:
            chosen = {"requested": self.request, "effective": None, "fallback_reasons": list(refusal.reasons), "uid": None}
        return {**chosen, "requests": list(REQUESTS), "rungs": rungs}

    def _drop(self, cwd: str, reasons: list[str]) -> tuple[tuple[str, ...], int | None]:
        """Return what makes a command an ordinary user's, where this service is root's; else add the reason why not."""
        if os.geteuid() != 0:
            return (), None
        words = (_program("setpriv"), f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs", "--")
        problem = self._try("setpriv", words, f'test "$(id -u)" = {_NOBODY}')
        if not problem and not _writable_for_nobody(cwd):
            problem = f"user {_NOBODY} may not write to the working folder {cwd}"
        if problem:
            reasons.append(f"uid: {problem}")
            return (), None
        return words, _NOBODY

    def _try(self, name: str, words: tuple[str, ...], proof: str) -> str:
        with self._lock:
            if name not in self._tried:
                self._tried[name] = _trial(words, proof)
            return self._tried[name]


_PROOFS = {
    # in a PID namespace of its own a shell is one of the first few, and /proc shows nobody else
    Rung.BUBBLEWRAP: 'test $$ -lt 9 && test "$(ls -d /proc/[0-9]* | wc -l)" -lt 9',
    Rung.NAMESPACE: 'test $$ -lt 9 && test "$(ls -d /proc/[0-9]* | wc -l)" -lt 9',
    # anybody may make a folder in /var/tmp, but for those who were kept to the working folder and /tmp
    Rung.LANDLOCK: "p=/var/tmp/execgo-landlock-$$; ! mkdir $p 2>/dev/null || { rmdir $p; echo it restricts nothing >&2; exit 9; }",
}


def _program(name: str) -> str:
    """Return a program's full path: a command's own PATH must not decide what isolates it."""
    return shutil.which(name) or name


def _words(rung: Rung) -> tuple[str, ...]:
    if rung is Rung.BUBBLEWRAP:
        mounts = ("--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc")
        return (_program("bwrap"), *mounts, "--unshare-pid", "--die-with-parent", "--")
    if rung is Rung.NAMESPACE:
        user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
        return (_program("unshare"), *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    return (sys.executable, "-I", "-S", _LANDLOCK) if rung is Rung.LANDLOCK else ()


def _trial(words: tuple[str, ...], proof: str) -> str:
    """Run a proof behind the words; return "" if it holds, else what was said."""
    program = shutil.which(words[0])
    if program is None:
        return f"{words[0]} is not installed"
    try:
        ended = subprocess.run(
            [program, *words[1:], "/bin/sh", "-c", proof],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/tmp",  # noqa: S108
            env={"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": "/tmp"},  # noqa: S108
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{words[0]}: {error}"
    said = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return "" if ended.returncode == 0 else (said[0][:200] if said else f"the trial ended with exit code {ended.returncode}")


def _writable_for_nobody(folder: str) -> bool:
    """Tell whether a user without any rights of its own could work in a folder."""
    path = Path(folder).absolute()
    try:
        info = path.stat()
        own = info.st_uid == _NOBODY and info.st_mode & 0o700 == 0o700
        return (own or info.st_mode & 0o007 == 0o007) and all(parent.stat().st_mode & 0o001 for parent in path.parents)
    except OSError:
        return False
