"""What the engine tells of one stack's containers, and what that says about each service."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.engine.connection import new_client
from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.control import Process
from pytest_execgo.plan.stack import Service

_CLOCKS_APART = 2  # seconds by which the engine's clock may be ahead of ours


@dataclass(slots=True)
class Container(Process):
    """One service's container. `live` from its start to its end; `oom` once memory has run out in it.

    `pid` is the service's own process, where this machine can see it.
    """

    id: str = ""
    live: bool = False
    oom: bool = False

    def describe(self) -> str:
        """Say how it is, or how it ended."""
        if self.live and self.pid is None:
            said = "it is paused" if self.stopped else "it is running"
        else:
            said = Process.describe(self)
        if not self.oom:
            return said
        return f"{said}; it ran out of the memory that it may have" if self.over else f"{said}; memory has run out in it"

    def begin(self) -> None:
        """Forget the life before the one that begins now."""
        self.pid = self.code = self.failed = self.ended_by = None
        self.live = self.stopped = self.oom = False


class EngineWatch:
    """Takes in the engine's events about one stack, in a thread of its own. Any thread may wait for what they say."""

    def __init__(self, label: str, service_label: str, tell: Callable[[], None]) -> None:
        """Watch all that carries `label` (`name=value`); `service_label` names the service of each.

        `tell` is called, in a thread of our own, whenever something has happened.
        """
        self.containers = {service: Container() for service in Service}
        self._service_label = service_label
        self._tell = tell
        self._changed = threading.Condition()
        self._gone = self._closed = False
        self.client = new_client(None)
        since = int(time.time()) - _CLOCKS_APART  # what happens while the engine takes us in is told, too
        self._events = self.client.events(decode=True, since=since, filters={"label": label})
        self._thread = threading.Thread(target=self._read, name="execgo-engine-events", daemon=True)
        self._thread.start()

    @property
    def gone(self) -> bool:
        """Tell whether the engine has ended, or can't be reached any more."""
        return self._gone

    def identify(self, service: Service, ident: str) -> None:
        """Take in whose events are a service's."""
        with self._changed:
            self.containers[service].id = ident

    def started(self, service: Service, state: Mapping[str, Any]) -> None:
        """Take in what the engine says of a container that was started: it may have ended before its events were a service's."""
        with self._changed:
            container = self.containers[service]
            if state["Running"]:
                container.live = not container.over
            elif not container.over:
                container.code, container.oom = exit_code(int(state["ExitCode"])), bool(state.get("OOMKilled"))
            self._changed.notify_all()

    def found(self, service: Service, pid: int | None) -> None:
        """Take in which process a service is, unless it has ended."""
        with self._changed:
            if self.containers[service].live:
                self.containers[service].pid = pid

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait until `done()`, at most `timeout` seconds; return whether it is. It is asked again when something has happened.

        `StackError` when the engine is lost meanwhile.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not done():
                left = deadline - time.monotonic()
                if self._gone:
                    raise StackError("engine_gone", "the container engine has ended, or can't be reached any more")
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def nudge(self) -> None:
        """Let whoever waits ask again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
        self._events.close()
        self._thread.join()
        self.client.close()

    def _read(self) -> None:
        for event in self._events:
            with self._changed:
                self._apply(event)
                self._tell()  # before whoever waits goes on: what that one sees by then is no news
                self._changed.notify_all()
        with self._changed:
            self._gone = True
            for container in self.containers.values():
                if not self._closed and container.live:
                    container.live, container.failed = False, "the container engine has ended, or can't be reached any more"
            if not self._closed:
                self._tell()
            self._changed.notify_all()

    def _apply(self, event: Mapping[str, Any]) -> None:
        about = event.get("Actor", {}).get("Attributes", {})
        if event.get("Type") != "container" or about.get(self._service_label) not in set(Service):
            return
        container = self.containers[Service(about[self._service_label])]
        if event["Actor"]["ID"] != container.id:  # one whose start failed, and that another one has replaced
            return
        match event["Action"]:
            case "pause":
                container.stopped = True
            case "unpause":
                container.stopped = False
            case "oom":
                container.oom = True
            case "die":
                container.code = exit_code(int(about["exitCode"]))
                container.live = container.stopped = False


def exit_code(told: int) -> int:
    """Return an exit code as the engine tells it, with the signal that ended the process as a negative number."""
    return 128 - told if told - 128 in set(signal.Signals) else told


def service_process(ident: str, first: int) -> int | None:
    """Return the process of a service: the one child of its container's first process, which is an init.

    None where the engine's pids are none of this machine's, as where it runs in a virtual machine.
    """
    try:
        if ident not in Path(f"/proc/{first}/cgroup").read_text("ascii", "replace"):
            return None
        children = Path(f"/proc/{first}/task/{first}/children").read_text("ascii").split()
    except OSError:
        return None
    return int(children[0]) if children else None
