"""The threads and loops in which file system calls run, so that one store serves both halves of the driver.

An fsspec file system is either blocking, or its coroutines belong to one event loop. The second kind is always given
fsspec's own loop, which runs in its own thread as long as the process lives. So one instance with one connection pool
works from sync code and from any number of event loops, one after the other or at the same time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

from litestar_filestore.core.threads import run_blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = (
    "InLoop",
    "InThread",
    "InTurn",
    "Inline",
    "Outcome",
    "Runner",
)

P = ParamSpec("P")
T = TypeVar("T")

Outcome: TypeAlias = "T | Awaitable[T]"
"""Result of a store's method if the file system is blocking, or an awaitable of it if it is asynchronous."""


class Runner(ABC):
    """Calls the methods of a store from either half of the driver."""

    @abstractmethod
    def call(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` and wait for its result, blocking."""

    @abstractmethod
    async def call_async(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` and wait for its result without blocking the running loop.

        When this returns, even after a cancellation, the call has ended.
        """

    def dispose(self, function: Callable[[], Outcome[None]]) -> None:
        """Call `function` when an iterator ends, in whatever thread: it may be where the garbage collector runs."""
        self.call(function)


class Inline(Runner):
    """Calls directly: for file systems that only touch memory."""

    def call(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function`, which is not a coroutine function."""
        return cast("T", function(*args, **kwargs))

    async def call_async(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function`, which returns at once."""
        return cast("T", function(*args, **kwargs))


class InThread(Inline):
    """Calls directly in the sync half, and in a worker thread in the async half: for blocking file systems."""

    async def call_async(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a worker thread; a cancellation waits for its end, because a thread cannot be stopped."""
        return await run_blocking(cast("Callable[[], T]", partial(function, *args, **kwargs)))


class InTurn(InThread):
    """Like `InThread`, but one call at a time: for connections that two threads must not use at once."""

    def __init__(self) -> None:
        """Start with no call under way."""
        self._lock = threading.Lock()

    def call(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for the turn and call `function`."""
        with self._lock:
            return super().call(function, *args, **kwargs)

    async def call_async(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for the turn and call `function`, in a worker thread."""
        return await run_blocking(cast("Callable[[], T]", partial(self.call, function, *args, **kwargs)))


class InLoop(Runner):
    """Runs coroutines in one event loop of another thread: for asynchronous file systems."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run everything in `loop`, which another thread runs."""
        self._loop = loop

    def call(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the coroutine to its end; an interrupt (Ctrl-C) cancels it.

        Raises:
            RuntimeError: If called in the loop itself, which would then wait for itself.
        """
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # documented; get_running_loop() raises if none runs
            raise RuntimeError("Sync methods cannot be called in fsspec's own event loop: await the _async methods")
        errand = _Errand[T](self._loop, cast("Coroutine[Any, Any, T]", function(*args, **kwargs)))
        try:
            return errand.outcome.result()
        except BaseException:
            errand.cancel()
            raise

    def dispose(self, function: Callable[[], Outcome[None]]) -> None:
        """Run the coroutine to its end, or only start it if the loop would wait for itself."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001
            _Errand[None](self._loop, cast("Coroutine[Any, Any, None]", function()))
        else:
            self.call(function)

    async def call_async(self, function: Callable[P, Outcome[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the coroutine to its end; a cancellation is passed on to it, and waits until it has ended."""
        errand = _Errand[T](self._loop, cast("Coroutine[Any, Any, T]", function(*args, **kwargs)))
        waiting = asyncio.wrap_future(errand.outcome)
        cancelled: asyncio.CancelledError | None = None
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError as error:
                cancelled = error
                errand.cancel()
            except BaseException:  # noqa: BLE001  # raised again by `result`
                break
        if cancelled is not None:
            if not waiting.cancelled():
                waiting.exception()  # looked at, so that asyncio does not report it as never retrieved
            raise cancelled
        return waiting.result()


class _Errand(Generic[T]):
    """A coroutine that runs in another loop.

    With `asyncio.run_coroutine_threadsafe`, a cancelled caller cannot see when the coroutine has ended, and fsspec's
    own ``sync`` returns ``None`` for a cancelled coroutine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Ask the coroutine to end."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine, context=self._context)
        self._task.add_done_callback(self._ended)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())
