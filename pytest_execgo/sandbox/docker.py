"""Containers as a sandbox: one for each command, with nothing of the host in it but what the command is given."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_execgo.core.engine.cleanup import Guard, remove_leftovers
from pytest_execgo.core.engine.connection import connect
from pytest_execgo.core.engine.ownership import owner_labels
from pytest_execgo.core.errors import MissingDependency, SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, Mount, SandboxMode
from pytest_execgo.sandbox.disk_watch import DiskWatch
from pytest_execgo.sandbox.docker_files import DOOR, DOORS, GIVEN, NOT_STARTED, PROXY_PORT, archive, not_started, start_line
from pytest_execgo.sandbox.docker_output import AttachedOutput
from pytest_execgo.sandbox.docker_user import user_for
from pytest_execgo.sandbox.egress import EgressProxy, proxy_environment
from pytest_execgo.sandbox.images import DEFAULT_IMAGES, pull_image
from pytest_execgo.sandbox.limit_words import limit_in_words
from pytest_execgo.sandbox.private_folder import private_folder

if TYPE_CHECKING:
    import docker

SANDBOX_LABEL = "org.pytest-execgo.sandbox"
"""On each container of a sandbox; its value names the `DockerConfinement`."""
_PERIOD = 100_000  # microseconds over which processor time is shared out
_LEAST_QUOTA = 1000  # of them; the engine takes no less
_LEAST_PROCESSES = 16  # the engine itself needs some threads inside to start anything
_SHARED_MEMORY = 64 << 20
_SIGNALS = 64  # a shell's code for a signal is 128 and its number
_AFTERWARDS = 0.5  # seconds after a container's end in which its last event is known


class DockerConfinement:
    """Runs commands in containers of the engine that `core.engine` finds, each removed before its result is given.

    A container has no network (unless the command has), no capability, no way to more rights, a root file system that can't be
    written, the engine's system call filter, and a user that is not root (`docker_user`). Memory includes what is written to the
    work folder and to `/tmp`, each of which holds `disk_bytes` and is gone with the container; a watch ends what lets mounts grow
    by more. `image` is for commands that name none; images need `/bin/sh` and `cp`.
    """

    mode: SandboxMode = "docker"

    def __init__(self, image: str = DEFAULT_IMAGES["python"], *, container_prefix: str = "execgo-sandbox") -> None:
        self._image = image
        self._prefix = container_prefix
        self.name = uuid.uuid4().hex[:12]
        """What its containers are labelled with."""
        self._lock = threading.Lock()
        self._ready = False
        self._volumes: dict[str, tuple[str, ...]] = {}

    def problem(self) -> str | None:
        """Say why no engine can be had here, and what to do about it; None when one answers."""
        try:
            connect()
        except MissingDependency as error:
            return f"{error.message} ({error.hint})"
        return None

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        """Run one command in a container of its own. `SandboxError`: no engine, no image, or the engine can't start it."""
        client = self._client()
        with _engine_errors(), _way_out(command) as doors, self._container(client, command, doors) as container:
            end = _attend(client, container, command)
            if end.exit_code in NOT_STARTED and (why := not_started(command, end.stderr)):
                raise SandboxError("sandbox_launch_failed", why, "it must be in the image, or in a folder that the command has")
            if doors and (doors / DOOR).exists():
                said = end.stderr.decode("utf-8", "replace").strip()
                what = f"{command.image or self._image} could not begin with a way out to the allowed hosts: {said}"
                raise SandboxError("no_way_out", what, "use an image that has python3, or leave the network off")
            return end

    def cleanup(self) -> None:
        """Remove what is left of this sandbox's containers: those of runs that are still under way."""
        if not self._ready:
            return
        client = self._client()
        with _engine_errors():
            for one in client.api.containers(all=True, filters={"label": f"{SANDBOX_LABEL}={self.name}"}):
                _remove(client, one["Id"])

    def _client(self) -> docker.DockerClient:
        """Return the engine's client, having seen to it that nothing of ours outlives its owner."""
        try:
            client = connect()
        except MissingDependency as error:
            raise SandboxError(error.code, error.message, error.hint) from error
        with self._lock, _engine_errors():
            if not self._ready:
                Guard.ensure()
                remove_leftovers(client)
                self._ready = True
        return client

    @contextmanager
    def _container(self, client: docker.DockerClient, command: ConfinedCommand, doors: Path | None) -> Iterator[str]:
        image = command.image or self._image
        user = user_for(command.mounts, (os.getuid(), os.getgid()))
        config = self._host_config(client, command, user, self._volumes_of(client, image), doors)
        with archive(command) as given:
            made = client.api.create_container(
                image,
                entrypoint=list(start_line(command)),
                name=f"{self._prefix}-{uuid.uuid4().hex[:12]}",
                hostname="sandbox",
                user="{}:{}".format(*user),
                working_dir=command.cwd,
                environment={**command.env, **(proxy_environment(PROXY_PORT) if doors else {})},
                labels={**owner_labels(), SANDBOX_LABEL: self.name},
                volumes=[GIVEN] if given else None,
                host_config=config,
            )
            identity: str = made["Id"]
            try:
                if given:
                    client.api.put_archive(identity, GIVEN, given)
                yield identity
            finally:
                _remove(client, identity)

    def _volumes_of(self, client: docker.DockerClient, image: str) -> tuple[str, ...]:
        """Return the folders for which an image wants volumes, having fetched it if it is not here."""
        with self._lock:
            if image not in self._volumes:
                pull_image(image)
                wanted = client.api.inspect_image(image)["Config"].get("Volumes") or {}
                self._volumes[image] = tuple(wanted)
            return self._volumes[image]

    def _host_config(
        self,
        client: docker.DockerClient,
        command: ConfinedCommand,
        user: tuple[int, int],
        volumes: tuple[str, ...],
        doors: Path | None,
    ) -> dict[str, Any]:
        from docker import types

        size = f"rw,exec,nosuid,nodev,size={command.disk_bytes},nr_inodes={max(1024, command.disk_bytes // 4096)}"
        own = f"{size},mode=0700,uid={user[0]},gid={user[1]}"
        folders = {**dict.fromkeys(volumes, own), "/tmp": f"{size},mode=1777"}  # noqa: S108 - the container's
        if command.work:
            folders[command.cwd] = own
        seen = [*command.mounts, Mount(doors, DOORS)] if doors else command.mounts
        config: dict[str, Any] = client.api.create_host_config(
            network_mode="bridge" if command.hosts == () else "none",
            read_only=True,
            tmpfs=folders,
            mounts=[types.Mount(one.target, str(one.source), type="bind", read_only=not one.writable) for one in seen],
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            init=True,
            ipc_mode="private",
            shm_size=min(command.disk_bytes, _SHARED_MEMORY),
            pids_limit=max(command.processes, _LEAST_PROCESSES),
            mem_limit=command.memory_bytes,
            memswap_limit=command.memory_bytes,
            cpu_period=_PERIOD,
            cpu_quota=max(_LEAST_QUOTA, int(command.cpu_cores * _PERIOD)),
            ulimits=[types.Ulimit(name="core", soft=0, hard=0)],
            log_config={"Type": "none", "Config": {}},
        )
        return config


@contextmanager
def _way_out(command: ConfinedCommand) -> Iterator[Path | None]:
    """Give the folder at which a proxy to the allowed hosts waits for the container, None for a command that has no such hosts."""
    if not command.hosts:
        yield None
        return
    with private_folder() as folder, EgressProxy(command.hosts) as proxy:
        doors = folder / "doors"
        doors.mkdir()
        doors.chmod(0o711)
        proxy.take_over(doors / DOOR)
        yield doors


def _attend(client: docker.DockerClient, container: str, command: ConfinedCommand) -> ConfinedEnd:
    output = AttachedOutput(command.output_bytes)
    written = [mount.source for mount in command.mounts if mount.writable]
    watch = DiskWatch(written, command.disk_bytes, lambda: ()) if written else None
    with _attached(client, container) as connection:
        client.api.start(container)
        started = time.monotonic()
        cut = output.follow(connection, started + command.timeout, watch)
        duration = time.monotonic() - started
    end = ConfinedEnd(
        exit_code=-signal.SIGKILL,
        stdout=output.stdout.content(),
        stderr=output.stderr.content(),
        duration=duration,
        truncated=output.truncated,
        limit=cut,
    )
    return end if cut else _concluded(client, container, end)


@contextmanager
def _attached(client: docker.DockerClient, container: str) -> Iterator[socket.socket]:
    """Give the connection on which a container's output comes.

    It is really closed at the end: the engine can't end a container while it waits for somebody to read what that writes.
    """
    attached = client.api.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})
    connection: socket.socket = getattr(attached, "_sock", attached)
    try:
        yield connection
    finally:
        with suppress(OSError):  # the engine has closed it already
            connection.shutdown(socket.SHUT_RDWR)
        attached._response.close()
        attached.close()
        connection.close()


_ENDED = 10.0  # seconds that a container may take to end whose output has


def _concluded(client: docker.DockerClient, container: str, end: ConfinedEnd) -> ConfinedEnd:
    """Fill in how a container ended that did so by itself, and the limit for which it failed, if it did."""
    client.api.wait(container, timeout=_ENDED)
    state = client.api.inspect_container(container)["State"]
    code: int = state["ExitCode"]
    if code == 0:
        return replace(end, exit_code=0, limit=None)
    memory = state["OOMKilled"] or _ran_out_of_memory(client, container, state)
    signalled = 128 < code <= 128 + _SIGNALS
    return replace(end, exit_code=128 - code if signalled else code, limit="memory" if memory else limit_in_words(end.stderr))


def _ran_out_of_memory(client: docker.DockerClient, container: str, state: dict[str, Any]) -> bool:
    """Look through the container's events: the flag in its state has been seen to be wrong."""
    since, until = int(_timestamp(state["StartedAt"])), _timestamp(state["FinishedAt"]) + _AFTERWARDS
    with closing(client.api.events(since=since, until=until, filters={"container": container}, decode=True)) as events:
        for event in events:
            if event["Action"] in ("oom", "die"):
                return bool(event["Action"] == "oom")
    return False


def _timestamp(time_of_day: str) -> float:
    """Return an engine's time (RFC 3339, nanoseconds, UTC) in seconds, as its events are asked for."""
    whole, _, fraction = time_of_day.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")


def _remove(client: docker.DockerClient, container: str) -> None:
    """Remove a container, running or not, and its volume."""
    import docker

    try:
        client.api.remove_container(container, force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:  # somebody else is just removing it
            raise


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Turn what the engine's client raises into `SandboxError`."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise SandboxError("engine_refused", f"the container engine refuses: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise SandboxError("engine_failed", f"the container engine failed: {error}") from error
