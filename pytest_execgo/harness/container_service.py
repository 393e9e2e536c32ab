"""One service's container once it is there: its lives, what is done to it, and what it writes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.engine.connection import EngineError, engine_call
from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.container_logs import LogCopy
from pytest_execgo.harness.container_watch import Container, EngineWatch, service_process
from pytest_execgo.harness.health import health_problem
from pytest_execgo.harness.logtail import quoted_end
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient

_POLL = 0.03
_PROBE_TIMEOUT = 1.0
_TOLD_TIMEOUT = 10.0  # seconds within which the engine must tell of what it has done
_LAST_WORDS_TIMEOUT = 10.0
_CPU_PERIOD = 100_000  # microseconds
_UNBOUNDED = 1 << 50  # bytes; engines take no number that means "none" here
_GONE, _CONFLICT = 404, 409


class ServiceContainer:
    """The container of one service. Its owner sees to it that only one thread at a time changes it."""

    def __init__(self, service: Service, client: EngineClient, watch: EngineWatch, log: Path) -> None:
        self.service = service
        self.log = log
        self.log_start = 0
        self.url = ""
        self.on_network = True
        self._api = client.api
        self._watch = watch
        self._copy: LogCopy | None = None
        self._first_pid = 0

    @property
    def state(self) -> Container:
        """What is known of it by now."""
        return self._watch.containers[self.service]

    def begin(self) -> None:
        """Take note that a life of it begins."""
        self.state.begin()
        self.log_start = self.log.stat().st_size if self.log.exists() else 0

    def began(self, ident: str, *, since: float | None = None) -> None:
        """Take note that the container `ident` was started at `since` (seconds of the epoch), or is a new one."""
        with engine_call(f"describe the {self.service}"):
            self._watch.identify(self.service, ident)
            state = self._api.inspect_container(ident)["State"]
            self._first_pid = int(state["Pid"])
            self._watch.started(self.service, state)
            self._copy = LogCopy(self._watch.client, ident, self.log, since=since)

    def start(self) -> None:
        """Start it again after it has ended."""
        self._end_copy()
        self.begin()
        since = time.time()
        try:
            with engine_call(f"start the {self.service}"):
                self._api.start(self.state.id)
            self.began(self.state.id, since=since)
        except EngineError as error:
            self.state.failed = error.message
            raise

    def await_ready(self, timeout: float, given_up: Callable[[], bool]) -> None:
        """Ask it until it answers; `StackError` when it ends, takes too long, or `given_up()`.

        Nobody can ask what is off the network: that is ready when it runs.
        """
        deadline = time.monotonic() + timeout
        while True:
            problem = health_problem(self.service, self.url, timeout=_PROBE_TIMEOUT) if self.on_network else None
            # an answer counts only from a container that is still there
            self._watch.wait(lambda: self.state.over or given_up(), 0 if problem is None else _POLL)
            if self.state.over:
                self._end_copy()
                raise StackError("service_ended", f"the {self.service} ended before it was ready: {self.describe_failure()}")
            if given_up():
                raise StackError("stack_down", "the containers stack is being taken down")
            if problem is None:
                self._watch.found(self.service, service_process(self.state.id, self._first_pid))
                return
            if time.monotonic() > deadline:
                raise StackError(
                    "service_not_ready",
                    f"the {self.service} was not ready within {timeout:g} s ({problem}): {self.describe_failure()}",
                )

    def stop(self, grace: int) -> None:
        """Ask it to end, a paused one too, and end it after `grace` seconds; one that has ended is fine."""
        if self.state.over:
            return
        self.state.ended_by = signal.SIGTERM
        with engine_call(f"stop the {self.service}"):
            self._api.stop(self.state.id, timeout=grace)
        self._await_end()

    def kill(self) -> None:
        """End it at once and return when it is gone; one that has ended is fine."""
        if self.state.over:
            return
        self.state.ended_by = signal.SIGKILL
        try:
            with engine_call(f"kill the {self.service}"):
                self._api.kill(self.state.id)
        except EngineError as error:
            if error.status != _CONFLICT:  # it has just ended by itself
                raise
        self._await_end()

    def pause(self) -> None:
        """Freeze it, and return once it is."""
        self._must_live("paused")
        if self.state.stopped:
            return
        with engine_call(f"pause the {self.service}"):
            self._api.pause(self.state.id)
        self._expect("pause", lambda: self.state.stopped or self.state.over)

    def resume(self) -> None:
        """Let it go on, and return once it does."""
        self._must_live("resumed")
        if not self.state.stopped:
            return
        with engine_call(f"resume the {self.service}"):
            self._api.unpause(self.state.id)
        self._expect("go on", lambda: not self.state.stopped)

    def limit(self, cpu: float | None, memory: int | None) -> None:
        """Bound it; None lifts a bound. Swap counts as memory."""
        bound = _UNBOUNDED if memory is None else memory
        quota = -1 if cpu is None else max(1000, round(cpu * _CPU_PERIOD))
        with engine_call(f"limit the {self.service}"):
            self._api.update_container(self.state.id, mem_limit=bound, memswap_limit=bound, cpu_period=_CPU_PERIOD, cpu_quota=quota)

    def disconnect(self, network: str) -> None:
        """Take it off the network; one that is off it is fine."""
        if self.on_network:
            with engine_call(f"take the {self.service} off the network"):
                self._api.disconnect_container_from_network(self.state.id, network)
            self.on_network = False

    def connect(self, network: str) -> None:
        """Put it back on the network under its name; one that is on it is fine."""
        if not self.on_network:
            with engine_call(f"put the {self.service} back on the network"):
                self._api.connect_container_to_network(self.state.id, network, aliases=[self.service.value])
            self.on_network = True

    def remove(self) -> None:
        """Remove it, alive or not; one that is gone is fine."""
        if self.state.id:
            try:
                with engine_call(f"remove the {self.service}"):
                    self._api.remove_container(self.state.id, force=True, v=True)
            except EngineError as error:
                if error.status not in (_GONE, _CONFLICT):  # somebody else removes it
                    raise
            self._watch.wait(lambda: not self.state.live, _TOLD_TIMEOUT)
        self._end_copy()

    def describe_failure(self) -> str:
        """Say how it is or how it ended, where its log is, and the last lines it wrote since it was started."""
        return f"{self.state.describe()}; log: {self.log}\n{quoted_end(self.log, since=self.log_start)}"

    def _must_live(self, what: str) -> None:
        if self.state.over:
            raise StackError("service_not_running", f"the {self.service} can't be {what}: {self.state.describe()}")

    def _expect(self, what: str, done: Callable[[], bool]) -> None:
        if not self._watch.wait(done, _TOLD_TIMEOUT):
            raise StackError(
                "engine_silent", f"the engine did not tell within {_TOLD_TIMEOUT:g} s that the {self.service} did {what}"
            )

    def _await_end(self) -> None:
        """Return when it has ended and its port refuses connections, which the engine sees to after it has told of the end."""
        self._expect("end", lambda: self.state.over)
        try:
            with engine_call(f"describe the {self.service}"):
                self._api.inspect_container(self.state.id)  # it answers only once it has done with the container
        except EngineError as error:
            if error.status != _GONE:  # somebody removes it
                raise
        self._end_copy()

    def _end_copy(self) -> None:
        """Let the log get whole, then stop copying."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.settle(_LAST_WORDS_TIMEOUT)
            copy.close()
