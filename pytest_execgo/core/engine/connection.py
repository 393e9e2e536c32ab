"""Reaches the container engine within seconds, or says plainly what was tried and why it failed."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from pytest_execgo.core.errors import MissingDependency, StackError

if TYPE_CHECKING:
    import docker

    EngineClient: TypeAlias = docker.DockerClient

_PATIENCE = 60
"""Seconds that an engine which has answered once may take for any other answer."""
_HINTS: dict[type[BaseException], str] = {
    FileNotFoundError: "install Docker Engine and start it, or name another engine's socket in DOCKER_HOST",
    ConnectionRefusedError: "start Docker Engine (for instance: systemctl start docker), or name another one in DOCKER_HOST",
    PermissionError: "let this user reach the socket (for instance through the group docker), or name another one in DOCKER_HOST",
}
_HANGING = "restart Docker Engine, or name another one in DOCKER_HOST"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_ANY_HINT = "look whether `docker info` works for this user, or name another engine in DOCKER_HOST"


class EngineMissing(MissingDependency):
    """No container engine can be had here. Its code is `no_container_engine`."""


class EngineError(StackError):
    """The engine refused something, or failed at it. `status` is its HTTP status, None when it could not be asked."""

    def __init__(self, code: str, message: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(code, message, hint)
        self.status = status


@contextmanager
def engine_call(what: str) -> Iterator[None]:
    """Turn what the client raises within into an `EngineError` that says what the engine was to do."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(
            "engine_refused", f"the container engine can't {what}: {explain(error)}", status=error.status_code
        ) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineError("engine_failed", f"the container engine could not be asked to {what}: {error}") from error


def explain(error: docker.errors.APIError) -> str:
    """Return what the engine itself says in an error of the client."""
    return str(error.explanation or error).strip()


_lock = threading.Lock()
_known: dict[tuple[int, str], Any] = {}
"""What was found out: a client or an `EngineMissing`, by process (a fork must not share sockets) and address."""


def connect(timeout: float = 3.0) -> EngineClient:
    """Return this process's client of the engine; `EngineMissing` when none answers within `timeout` seconds.

    Asks the engine that DOCKER_HOST names, else that of Docker's current context, else the usual socket. Either result is
    remembered for the process. The client belongs to everybody: don't close it.
    """
    with _lock:
        where = engine_options()
        key = (os.getpid(), where["base_url"])
        if key not in _known:
            _known[key] = _answer(where, timeout)
        found = _known[key]
    if isinstance(found, EngineMissing):
        raise EngineMissing(found.code, found.message, found.hint)
    return found


def new_client(timeout: float | None = _PATIENCE) -> EngineClient:
    """Return a client of one's own, to be closed; `timeout` (seconds) bounds each answer, None waits for ever, as streams must."""
    import docker

    version = connect().api._version  # found out already
    return docker.DockerClient(**engine_options(), version=version, timeout=timeout)


def engine_is_here() -> bool:
    """Tell whether the engine runs on this machine, so that it sees our files and publishes ports here."""
    parts = urlsplit(engine_options()["base_url"])
    return parts.scheme in ("unix", "http+unix", "npipe") or parts.hostname in _LOCAL_HOSTS


def engine_options() -> dict[str, Any]:
    """Return what a client needs to find the engine: at least `base_url`."""
    try:
        from docker.constants import DEFAULT_UNIX_SOCKET
        from docker.context import ContextAPI
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env
    except ImportError as error:
        said = f"the package docker, which speaks to container engines, is not installed ({error})"
        raise EngineMissing("no_container_engine", said, "pip install docker") from error

    options: dict[str, Any] = kwargs_from_env()
    if "base_url" not in options:
        try:
            context = ContextAPI.get_current_context()
        except DockerException as error:
            raise EngineMissing("no_container_engine", f"Docker's current context can't be read: {error}", _ANY_HINT) from error
        if context is not None and context.Host:
            options = {"base_url": context.Host, "tls": context.TLSConfig or False}
    options.setdefault("base_url", DEFAULT_UNIX_SOCKET.replace("http+unix://", "unix://"))
    return options


def _answer(where: dict[str, Any], timeout: float) -> Any:
    """Ask in a thread of its own: each step of a connection has a timeout, and only together may they take `timeout` seconds."""
    answers: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask(where, timeout)), name="execgo-engine-probe", daemon=True).start()
    try:
        return answers.get(timeout=timeout * 0.9)
    except Empty:
        said = f"the container engine at {where['base_url']} does not answer within {timeout:g} s"
        return EngineMissing("no_container_engine", said, _HANGING)


def _ask(where: dict[str, Any], timeout: float) -> Any:
    import docker
    import requests
    from docker.constants import MINIMUM_DOCKER_API_VERSION

    try:
        _knock(where["base_url"], timeout)
        # asks nothing yet, so that there is something to close when asking fails
        client = docker.DockerClient(**where, version=MINIMUM_DOCKER_API_VERSION, timeout=timeout)
        try:
            version = client.version(api_version=False)["ApiVersion"]
        finally:
            client.close()
        return docker.DockerClient(**where, version=version, timeout=_PATIENCE)
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError, KeyError) as error:
        cause = _root(error)
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
        said = f"no container engine answers at {where['base_url']}: {reason}"
        return EngineMissing("no_container_engine", said, _HINTS.get(type(cause), _ANY_HINT))


def _knock(address: str, timeout: float) -> None:
    """Raise what connecting to a local socket raises: the client would leave the socket open that it failed with.

    Where more already wait than the system lets wait, one can only try again.
    """
    deadline = time.monotonic() + timeout
    while address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(timeout)
            try:
                knocking.connect(address.removeprefix("unix://"))
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def _root(error: BaseException) -> BaseException:
    """Return the error of the system beneath what libraries have made of it, else the error itself."""
    seen: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        one = pending.pop()
        if not isinstance(one, BaseException) or one in seen:
            continue
        if type(one) in _HINTS:
            return one
        seen.append(one)
        pending += [one.__cause__, one.__context__, *one.args]
    return error
