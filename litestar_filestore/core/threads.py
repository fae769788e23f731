"""Blocking calls in worker threads: the only place of this package that starts threads.

`run_blocking` keeps them off the event loop, and promises that the thread has finished when the call returns.
`run_in_thread` is for code that is itself sync.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import Future
from contextvars import copy_context
from functools import cache, partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.to_thread import current_default_thread_limiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ("finish", "run_blocking", "run_in_thread", "within")

T = TypeVar("T")

_IDLE_SECONDS = 10.0
"""A thread without work ends after this time."""


async def run_blocking(function: Callable[[], T]) -> T:
    """Run `function` in a worker thread and wait for its end, even when the caller is cancelled meanwhile.

    Cancellation is delivered after `function` has returned: a file is never closed, moved or deleted while a thread
    still writes to it. Only the end of the event loop does not wait, nor does that of the process: a thread that hangs
    in a library is lost with them, as it would be by a kill.

    As many threads run at a time as `anyio.to_thread` allows.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `function` is dropped then.
    """
    return await finish(_run(function))


def run_in_thread(function: Callable[[], T], *, seconds: float | None = None) -> T:
    """Run `function` in a worker thread with the caller's context, block until it has ended, and return its result.

    For sync code that cannot run something itself: because an event loop runs in its thread, or because it must not
    wait longer than `seconds`. A thread that is left behind goes on; like all of them, it does not keep the process.

    Args:
        function: What to run. What it raises is raised here.
        seconds: How long to wait; ``None`` for no limit.

    Raises:
        TimeoutError: If it took longer.
    """
    outcome: Future[T] = Future()
    _submit(_Job(function, partial(_set, outcome)))
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        if outcome.done() or seconds is None:
            raise
        raise TimeoutError(f"The call has not ended within {seconds:g} s: try again, or allow more seconds") from error


async def finish(awaitable: Awaitable[T], *, seconds: float | None = None) -> T:
    """Await something to its end, and only then deliver a cancellation that came meanwhile.

    Args:
        awaitable: What has to be finished.
        seconds: Time after which it is left behind all the same, as `within` does; ``None`` for no limit.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `awaitable` is dropped then.
        TimeoutError: If it took longer.
    """
    future = asyncio.ensure_future(awaitable)
    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    ends_at = None if seconds is None else loop.time() + seconds
    while not future.done():
        if ends_at is not None and loop.time() >= ends_at:
            _leave(future)
            raise cancelled or TimeoutError(
                f"The call has not ended within {seconds:g} s: try again, or allow more seconds"
            )
        try:
            # Unlike await, it neither cancels the future nor raises what that raises.
            await asyncio.wait({future}, timeout=None if ends_at is None else ends_at - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # looked at, so that asyncio does not report it as never retrieved
        raise cancelled
    return future.result()


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Await something for so long at the most; then it is cancelled and left behind, whether it ends or not.

    `asyncio.timeout` waits until what was cancelled has ended, and a worker thread may never do so.

    Raises:
        TimeoutError: If it took longer.
    """
    future = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({future}, timeout=seconds)
    finally:
        if not future.done():
            _leave(future)
    if not future.done():
        raise TimeoutError(f"The call has not ended within {seconds:g} s: try again, or allow more seconds")
    return future.result()


_left: set[asyncio.Future[Any]] = set()
"""Futures that nobody waits for any more; asyncio keeps weak references only. Each leaves when it ends."""


def _leave(future: asyncio.Future[Any]) -> None:
    _left.add(future)
    future.add_done_callback(_forget)
    future.cancel()


def _forget(future: asyncio.Future[Any]) -> None:
    _left.discard(future)
    if not future.cancelled():
        future.exception()  # looked at, so that asyncio does not report it as never retrieved


async def _run(function: Callable[[], T]) -> T:
    async with current_default_thread_limiter():
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        _submit(_Job(function, partial(_tell, loop, outcome)))
        return await outcome


class _Job:
    """One call on its way to a thread and back."""

    __slots__ = ("_context", "_function", "_tell")

    def __init__(self, function: Callable[[], Any], tell: Callable[[Any, BaseException | None], None]) -> None:
        self._function = function
        self._tell = tell
        self._context = copy_context()

    def run(self) -> Callable[[], None]:
        """Call the function, and return what hands back what it returned or raised."""
        try:
            value, error = self._context.run(self._function), None
        except BaseException as raised:  # noqa: BLE001  # raised again by whoever waits for it
            value, error = None, raised
        return partial(self._tell, value, error)


def _tell(
    loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    try:
        loop.call_soon_threadsafe(_settle, outcome, value, error)
    except RuntimeError:
        # The loop has ended without waiting, and with it everybody who could be told.
        if not loop.is_closed():
            raise


def _settle(outcome: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if not outcome.done():  # else cancelled with its loop
        _set(outcome, value, _stopped(error) if isinstance(error, StopIteration) else error)


def _set(outcome: asyncio.Future[Any] | Future[Any], value: Any, error: BaseException | None) -> None:
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(error)


def _stopped(error: StopIteration) -> RuntimeError:
    """Return what stands for an error that no coroutine can raise (PEP 479)."""
    wrapped = RuntimeError("A function that ran in a thread raised StopIteration")
    wrapped.__cause__ = error
    return wrapped


class _Worker(Thread):
    """A thread that takes one job after the other.

    A daemon: Python waits for other threads at its exit, `anyio.to_thread` and `concurrent.futures` have such, and one
    that hangs in a library, on a server that does not answer, would keep the process for as long.
    """

    def __init__(self) -> None:
        super().__init__(name="litestar-filestore worker", daemon=True)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()

    def run(self) -> None:
        """Work until there was nothing to do for a while."""
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    _idle.remove(self)
                except ValueError:  # taken this moment: its job comes
                    job = self.jobs.get()
                else:
                    return
            tell = job.run()
            _idle.append(self)  # first, as whoever is told may come back at once
            tell()
            del job, tell  # they hold what was returned


_idle: deque[_Worker] = deque()
"""Threads without work; the last one to have worked is the first one to work again, so the others may end."""


@cache
def _forget_threads_of_parent() -> None:
    # A child has none of its parent's threads. Said once, when there is a first thread: an import changes no process.
    os.register_at_fork(after_in_child=_idle.clear)


def _submit(job: _Job) -> None:
    _forget_threads_of_parent()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
        worker.start()
    worker.jobs.put(job)
