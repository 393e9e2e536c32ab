"""Plain callables as targets: asynchronous ones are awaited, others run in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any


def name_of(target: Any) -> str:
    """Return a name for people: of a function, a class, a file, or of an object's class."""
    if isinstance(target, str):
        return target
    name = getattr(target, "__qualname__", None) or getattr(target, "name", None)
    return name if isinstance(name, str) else type(target).__qualname__


def is_function(target: Any) -> bool:
    """Tell whether `target` can be called to do something; a class could only be made an object of."""
    return callable(target) and not inspect.isclass(target)


def is_async(target: Any) -> bool:
    """Tell whether calling `target` gives a coroutine."""
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004


async def call(function: Callable[[], Any], notes: dict[str, Any], *, awaited: bool) -> Any:
    """Call `function` and return what comes of it: in this task if `awaited`, else in a thread.

    A thread can't be stopped: when this is cancelled meanwhile, `notes` say so as `still_running`.
    """
    value = function() if awaited else await _in_thread(function, notes)
    return await value if inspect.isawaitable(value) else value


async def _in_thread(function: Callable[[], Any], notes: dict[str, Any]) -> Any:
    """Call `function` in a daemon thread of its own: neither a loop nor the interpreter waits for one that never returns."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def tell(value: Any, error: BaseException | None) -> None:
        if not over.done():
            over.set_result((value, error))

    def run() -> None:
        value, error = None, None
        try:
            value = context.run(function)
        except BaseException as raised:  # handed on to whoever waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(partial(tell, value, error))

    threading.Thread(target=run, name="execgo-target", daemon=True).start()
    try:
        value, error = await over
    except asyncio.CancelledError:
        notes["still_running"] = True
        raise
    if error is not None:
        raise error
    return value
