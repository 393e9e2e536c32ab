"""What a natively confined command sees of the host: its programs and their libraries, for reading. Nothing of anybody's files.

Paths are the host's, and the same inside. Standard library only.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import SandboxError

if TYPE_CHECKING:
    from pytest_execgo.core.containment.orders import View

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime", "/etc/mime.types"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem"),
    *("/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust", "/etc/ca-certificates", "/etc/crypto-policies"),
)
_NAMES_OF_HOSTS = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@cache
def python_home() -> Path:
    """Return the folder of the interpreter that runs us; `SandboxError` where showing it would show a home folder."""
    home = Path(sys.base_prefix).resolve()
    if Path.home().is_relative_to(home):
        message = f"Python is installed in {home}, which holds the home folder: it can't be shown without that"
        raise SandboxError("python_not_apart", message, "use a Python that has a folder of its own")
    return home


@cache
def python() -> str:
    """Return the interpreter that runs us as it is found inside, not the link that a virtual environment has to it."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = python_home() / "bin" / name
    return str(found if found.exists() else Path(sys.executable).resolve())


def search_path() -> str:
    """Return the PATH of commands that are given none."""
    folders = [f"{python_home()}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    return os.pathsep.join(dict.fromkeys(folders))


def views(*, names_of_hosts: bool) -> list[View]:
    """Return what is seen; with `names_of_hosts` also how the host finds other hosts."""
    found: list[View] = []
    home = str(python_home())
    for path in (*_SYSTEM, home, *_SETTINGS, *(_NAMES_OF_HOSTS if names_of_hosts else ())):
        if any(path == view["path"] or path.startswith(view["path"] + "/") for view in found):
            continue
        if os.path.islink(path) and path in _SYSTEM:  # noqa: PTH114 - looked at for every command
            found.append({"path": path, "source": path, "link": os.readlink(path)})  # noqa: PTH115
        elif os.path.exists(path):  # noqa: PTH110
            found.append({"path": path, "source": os.path.realpath(path), "link": None})
    return found


def readable(seen: list[View]) -> list[str]:
    """Return the same as paths that a command may open, where it sees the whole of the host: links lead to what is listed, too."""
    return [view["path"] for view in seen if view["link"] is None] + [path for path in DEVICES if os.path.exists(path)]  # noqa: PTH110


def texts(uid: int, *, names_of_hosts: bool) -> dict[str, str]:
    """Return the files of /etc that are written for a command: who it is, and, unless the host's are seen, what `localhost` is."""
    user = f"sandbox:x:{uid}:{uid}::/tmp:/bin/sh\n"
    named = {"/etc/passwd": user, "/etc/group": f"sandbox:x:{uid}:\n"}
    if not names_of_hosts:
        named |= {"/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "/etc/nsswitch.conf": "passwd: files\nhosts: files\n"}
    return named
