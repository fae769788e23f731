"""Blocking calls in worker threads; no other module of this package starts threads.

`run_blocking` keeps blocking calls off the event loop and guarantees that the thread is done when it returns.
`run_in_thread` is for sync code.
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
"""An idle thread ends after this time."""


async def run_blocking(function: Callable[[], T]) -> T:
    """Run `function` in a worker thread and wait until it ends, even if the caller is cancelled meanwhile.

    Cancellation is delivered only after `function` has returned, so that no file is closed, moved or deleted while a
    thread still writes to it. The end of the event loop or of the process does not wait: a thread that hangs in a
    library is then lost, as if the process had been killed.

    The number of concurrent threads is limited as in `anyio.to_thread`.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `function` is then dropped.
    """
    return await finish(_run(function))


def run_in_thread(function: Callable[[], T], *, seconds: float | None = None) -> T:
    """Run `function` in a worker thread with the caller's context, block until it has ended, and return its result.

    For sync code that cannot call `function` directly, because an event loop runs in its thread or because it must not
    wait longer than `seconds`. After a timeout the thread goes on, but like every worker it does not keep the process
    alive.

    Args:
        function: What to run. Its exceptions are raised here.
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
    """Await something until it ends, and deliver a cancellation that arrives meanwhile only then.

    Args:
        awaitable: What has to be finished.
        seconds: Time after which it is left behind anyway, as `within` does; ``None`` for no limit.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `awaitable` is then dropped.
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
            # Unlike `await`, this neither cancels the future nor raises its exception.
            await asyncio.wait({future}, timeout=None if ends_at is None else ends_at - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # looked at, so that asyncio does not report it as never retrieved
        raise cancelled
    return future.result()


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Await something for at most `seconds`; then cancel it and leave it behind, whether it ends or not.

    `asyncio.timeout` waits until the cancelled work has ended, and a worker thread may never end.

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
"""Futures that nobody waits for any more: asyncio keeps only weak references. Each is removed when it ends."""


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
        """Call the function, and return a callable that delivers its result or exception."""
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
        # The loop has ended without waiting, so nobody is left to be told.
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
    """Wrap a ``StopIteration``, which no coroutine can raise (PEP 479)."""
    wrapped = RuntimeError("A function that ran in a thread raised StopIteration")
    wrapped.__cause__ = error
    return wrapped


class _Worker(Thread):
    """A thread that runs one job after the other.

    It is a daemon. At exit Python waits for other threads, such as those of `anyio.to_thread` and `concurrent.futures`;
    one that hangs in a library, on a server that does not answer, would keep the process alive as long as it hangs.
    """

    def __init__(self) -> None:
        super().__init__(name="litestar-filestore worker", daemon=True)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()

    def run(self) -> None:
        """Run jobs until the thread has been idle for a while."""
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    _idle.remove(self)
                except ValueError:  # just taken from the idle ones: its job is on the way
                    job = self.jobs.get()
                else:
                    return
            tell = job.run()
            _idle.append(self)  # before `tell`: the caller may submit its next job at once
            tell()
            del job, tell  # they hold the result


_idle: deque[_Worker] = deque()
"""Idle threads; the one that worked last is taken first, so that the others can end."""


@cache
def _forget_threads_of_parent() -> None:
    # A forked child has none of its parent's threads. Registered with the first thread: an import must have no effect.
    os.register_at_fork(after_in_child=_idle.clear)


def _submit(job: _Job) -> None:
    _forget_threads_of_parent()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
        worker.start()
    worker.jobs.put(job)
