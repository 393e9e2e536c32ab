"""The HTTP side: the application's life, and the one place where an exception becomes an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.api.control_api import CAPABILITIES, Control, Dropped
from pytest_execgo.kernel.api.exchange import ClientGone, HTTPError, Kernel, Reply
from pytest_execgo.kernel.api.logs import log
from pytest_execgo.kernel.api.routes import answer
from pytest_execgo.kernel.durable.folder import DataFolder
from pytest_execgo.kernel.durable.rows import DamagedRow
from pytest_execgo.kernel.executors.executor import Executor
from pytest_execgo.kernel.history.observer import SILENT
from pytest_execgo.kernel.limits import COMPAT, Limits
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.resubmission import Conflict
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.settings import Settings
from pytest_execgo.kernel.store import StoreFailed
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.waiting import Waiters

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pytest_execgo.kernel.history.journal import Journal


class KernelApp:
    """The ASGI application. `build_executors` is called at start-up, on the event loop that everything then runs on."""

    def __init__(
        self,
        settings: Settings,
        build_executors: Callable[[Settings], Mapping[str, Executor]],
        data: DataFolder,
        journal: Journal | None = None,
    ) -> None:
        self._settings = settings
        self._data = data
        self._journal = journal
        self._build_executors = build_executors
        self._kernel: Kernel | None = None
        self._waiters = Waiters()
        self._stop_by = 0.0

    def stop_waiting(self) -> None:
        """Answer everybody whose answer is held, start nothing more; called on the event loop when the process is to stop."""
        self._waiters.close()
        self._stop_by = time.monotonic() + self._settings.shutdown_timeout
        if self._kernel is not None:
            self._kernel.scheduler.halt()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan protocol and HTTP requests."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await _send(send, await self._reply(scope, receive))
            except (ClientGone, Dropped):
                return

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        metrics = Metrics()
        store, resumed = self._data.start()
        executors = self._build_executors(self._settings)
        compat = self._settings.compat
        observer = self._journal or SILENT
        observer.booted(store)
        slots = self._settings.max_concurrency
        scheduler = Scheduler(store, metrics, executors, slots, compat=compat, waiters=self._waiters, observer=observer)
        control = None if compat else Control(store, scheduler, self._waiters)
        limits = COMPAT if compat else Limits()
        self._kernel = Kernel(
            store, metrics, scheduler, executors, self._data, control, _capabilities(self._settings), limits, self._journal
        )
        scheduler.resume(resumed)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await scheduler.stop(self._stop_by - time.monotonic())
        await store.close()
        observer.stopped()
        await send({"type": "lifespan.shutdown.complete"})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        """Find the answer to a request. Every exception ends here."""
        try:
            if self._kernel is None:
                raise HTTPError(503, "the kernel is not ready")
            return await answer(self._kernel, scope, receive)
        except HTTPError as error:
            return error.reply
        except Refused as error:
            return HTTPError(400, error.message).reply
        except Conflict as error:
            return HTTPError(409, error.message).reply
        except UsageError as error:
            return HTTPError(400, error.message).reply
        except StoreFailed as error:
            return HTTPError(503, error.message).reply
        except DamagedRow as error:
            self._data.suspect(error.message)
            return HTTPError(500, error.message).reply
        except (ClientGone, Dropped):
            raise
        except Exception as error:
            trace_id = scope.get("trace_id", "")
            log("ERROR", "request failed", trace_id=trace_id, method=scope["method"], path=scope["path"], error=repr(error))
            return HTTPError(500, "internal error").reply


def _capabilities(settings: Settings) -> tuple[str, ...]:
    """Return what this kernel can beyond ExecGo, as GET /health tells it."""
    if settings.compat:
        return ()
    chosen = {"token": settings.token, "history": settings.history}
    return (*CAPABILITIES, "durable", "paging", "limits", *(name for name, given in chosen.items() if given))


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers]
    body = b""
    if reply.body:
        body = reply.body.encode() + b"\n"
        kind = b"text/plain; charset=utf-8" if reply.plain else b"application/json"
        headers += [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
