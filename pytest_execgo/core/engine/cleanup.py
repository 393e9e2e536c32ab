"""Nothing of ours outlives its owner: what dead owners left is removed, and a child process sees to it when this one ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_execgo.core.engine.ownership import OWNER_LABEL, alive, owner_labels

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient

_REMOVAL_TIMEOUT = 10.0  # seconds in which somebody else who is removing the same thing must have done so


def remove_leftovers(client: EngineClient) -> list[str]:
    """Remove containers and networks of owners that are dead, and return the names of what is gone.

    What a guard is just removing is waited for. A network that somebody else has put a container into stays, and so does what
    the engine can't remove: another's leftovers must keep nobody from starting.
    """
    return _remove(client, OWNER_LABEL, lambda labels: not alive(labels), insist=False)


def remove_labelled(client: EngineClient, label: str, value: str) -> list[str]:
    """Remove all containers and networks that carry a label with this value, and return the names of what is gone.

    What the engine raises at one of them is raised once the others have gone.
    """
    return _remove(client, f"{label}={value}", lambda labels: True, insist=True)


class Guard:
    """A child process that removes everything of this process when it ends, in whatever way: by SIGKILL, too.

    One a process, started when it is first asked for. It has a session of its own, so that what ends a whole group of
    processes leaves it to its work.
    """

    _lock = threading.Lock()
    _guards: dict[int, Guard] = {}  # noqa: RUF012 - by the process that is guarded: a fork is an owner of its own

    def __init__(self) -> None:
        """Start the child. Use `ensure`."""
        reading, self._writing = os.pipe()  # the writing end is closed by this process's end alone
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "pytest_execgo.core.engine.guard", owner_labels()[OWNER_LABEL], str(os.getpid())],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(reading)
        self.pid: int = child.pid
        child.returncode = 0  # it is meant to outlive this process: Popen must not complain that it does

    @classmethod
    def ensure(cls) -> Guard:
        """Return this process's guard, starting it if there is none. To be asked before the first container is made."""
        with cls._lock:
            guard = cls._guards.get(os.getpid())
            if guard is None:
                guard = cls._guards[os.getpid()] = cls()
            return guard


def _remove(client: EngineClient, label: str, wanted: Callable[[Mapping[str, str]], bool], *, insist: bool) -> list[str]:
    """Remove containers first, since a network that is in use can't be.

    All are paused before the first goes: no service is to see another's death, and to record it as a result. One that is stuck
    must not leave the others paused.
    """
    import docker
    import requests

    api = client.api
    found: list[tuple[str, Callable[[], object]]] = []
    containers = [one for one in api.containers(all=True, filters={"label": label}) if wanted(one["Labels"])]
    for one in containers if len(containers) > 1 else ():
        with contextlib.suppress(docker.errors.APIError, requests.RequestException):  # it is not running, has gone, or is stuck
            api.pause(one["Id"])
    found += [(_name(one), partial(api.remove_container, one["Id"], force=True, v=True)) for one in containers]
    for one in api.networks(filters={"label": label}):
        if wanted(one["Labels"]):
            found.append((one["Name"], partial(api.remove_network, one["Id"])))
    gone: list[str] = []
    failed: list[Exception] = []
    for name, remove in found:
        try:
            if _until_gone(remove):
                gone.append(name)
        except (docker.errors.APIError, requests.RequestException) as error:
            failed.append(error)
    if failed and insist:
        raise failed[0]
    return gone


def _name(container: Mapping[str, Any]) -> str:
    names: list[str] = container["Names"] or [container["Id"]]
    return names[0].lstrip("/")


def _until_gone(remove: Callable[[], object]) -> bool:
    """Remove one thing that somebody else may be removing at this moment; tell whether it is gone.

    `docker.errors.APIError` when the engine fails at it, `requests.RequestException` when it does not answer.
    """
    import docker

    deadline = time.monotonic() + _REMOVAL_TIMEOUT
    while True:
        try:
            remove()
        except docker.errors.NotFound:
            return True
        except docker.errors.APIError as error:
            in_use = "active endpoints" in str(error)
            if not in_use and error.status_code != 409:  # 409: its removal is in progress
                raise
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)  # nobody tells
        else:
            return True
