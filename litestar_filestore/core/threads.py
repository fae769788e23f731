"""Blocking calls off the event loop, with one promise: when the call returns, the thread has finished."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ("finish", "run_blocking")

T = TypeVar("T")


async def run_blocking(function: Callable[[], T]) -> T:
    """Run `function` in a worker thread and wait for its end, even when the caller is cancelled meanwhile.

    Cancellation is delivered after `function` has returned: a file is never closed, moved or deleted while a thread
    still writes to it. `anyio.to_thread` alone promises this for anyio's cancel scopes, not for ``Task.cancel()``.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `function` is dropped then.
    """
    return await finish(to_thread.run_sync(function))


async def finish(awaitable: Awaitable[T]) -> T:
    """Await something to its end, and only then deliver a cancellation that came meanwhile.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `awaitable` is dropped then.
    """
    future = asyncio.ensure_future(awaitable)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})  # unlike await, it neither cancels the future nor raises what that raises
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # looked at, so that asyncio does not report it as never retrieved
        raise cancelled
    return future.result()
