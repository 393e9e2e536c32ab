"""What tasks may reach: files, hosts, scripts. Everything, as in ExecGo, unless the kernel is told less."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.serving import parse_address

_PATHS = "write absolute paths, separated by commas"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
SCRIPT_POLICIES = ("allow", "deny")


@dataclass(frozen=True, slots=True)
class Policy:
    """The bounds of the os tools.

    `file_roots`: the folders (absolute) that the file tool stays beneath; None: any file. `http_allow`: the (host, port) pairs
    that the http tool may reach; None: all. `scripts`: whether shell scripts run, which the command whitelist can't judge.
    """

    file_roots: tuple[str, ...] | None = None
    http_allow: frozenset[tuple[str, int]] | None = None
    scripts: bool = True


UNBOUNDED = Policy()


def read_policy(file_root: str, http_allow: str, script_policy: str, *, address: str) -> Policy:
    """Read the flags (empty: not given); `UsageError` names the one that can't be used.

    `address` is the kernel's own, which the http tool never reaches once there is a list of what it may.
    """
    choice = script_policy.strip().lower()
    if choice and choice not in SCRIPT_POLICIES:
        raise UsageError.unknown("script policy", choice, SCRIPT_POLICIES)
    return Policy(
        file_roots=_roots(file_root) if file_root else None,
        http_allow=_pairs(http_allow, address) if http_allow else None,
        scripts=choice != "deny",
    )


def _roots(text: str) -> tuple[str, ...]:
    roots = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not os.path.isabs(part):  # noqa: PTH117 - the kernel works with paths as texts throughout
            raise UsageError("bad_file_root", f"-file-root: {part!r} is a relative path", _PATHS)
        roots.append(os.path.normpath(part))
    if not roots:
        raise UsageError("bad_file_root", f"-file-root: {text!r} names no folder", _PATHS)
    return tuple(roots)


def _pairs(text: str, address: str) -> frozenset[tuple[str, int]]:
    """Read `host:port,host:port`; `none` allows nobody."""
    if text.strip().lower() == "none":
        return frozenset()
    pairs = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, port = parse_address(part)
        if not host or not port:
            raise UsageError("bad_http_allow", f"-http-allow: {part!r} is no host:port", "for instance 127.0.0.1:8090, or none")
        own_host, own_port = parse_address(address)
        if port == own_port and (own_host in ("", "0.0.0.0", "::", host) or host in _LOOPBACK):  # noqa: S104
            raise UsageError("bad_http_allow", f"-http-allow: {part!r} is this kernel itself", "name other services only")
        pairs.add((host.lower(), port))
    return frozenset(pairs)
