"""Blocking calls in worker threads; no other module of this package starts threads.

`run_blocking` keeps blocking calls off the event loop and guarantees that the thread is done when it returns.
`run_in_thread` is for sync code.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import cache, partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

__all__ = ("MOST_THREADS", "end_watched", "finish", "run_blocking", "run_in_thread", "within")

T = TypeVar("T")

MOST_THREADS = 40
"""How many functions `run_blocking` runs at the same time, as many as `anyio.to_thread`."""
_IDLE_SECONDS = 10.0
"""An idle thread ends after this time."""


async def run_blocking(function: Callable[[], T]) -> T:
    """Run `function` in a worker thread and wait until it ends, even if the caller is cancelled meanwhile.

    Cancellation is delivered only after `function` has returned, so that no file is closed, moved or deleted while a
    thread still writes to it. The end of the event loop or of the process does not wait: a thread that hangs in a
    library is then lost, as if the process had been killed.

    At most `MOST_THREADS` such functions run in a process at the same time; the others wait for their turn.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the outcome of `function` is then dropped.
    """
    loop = asyncio.get_running_loop()
    if (waiting := _watched.get(loop)) is None:
        # In a task of its own, which the end of the event loop cancels.
        plain: asyncio.Future[T] = loop.create_future()
        _pool.submit(_Job(function, plain, loop))
        return await _finished(loop.create_task(_result_of(plain)))
    outcome: _Uncancelled[T] = _Uncancelled(loop=loop)
    _pool.submit(_Job(function, outcome, loop))
    waiting.add(outcome)
    try:
        return await outcome
    finally:
        waiting.discard(outcome)


async def _result_of(outcome: asyncio.Future[T]) -> T:
    return await outcome


@asynccontextmanager
async def end_watched() -> AsyncGenerator[None]:
    """Return a context in which `run_blocking` needs no task for each call: one task notices the end of the event loop.

    An application enters it when it starts. Calls that go on after the context are still let go with the loop.
    """
    loop = asyncio.get_running_loop()
    if loop in _watched:
        yield
        return
    waiting = _watched[loop] = set()
    watching = loop.create_task(_let_go_at_end(waiting))
    try:
        yield
    finally:
        del _watched[loop]
        for each in waiting:
            each.add_done_callback(partial(_stop_watching, watching, waiting))
        if not waiting:
            watching.cancel()
            await asyncio.wait({watching})


def _stop_watching(watching: asyncio.Task[None], waiting: set[_Uncancelled[Any]], _ended: object) -> None:
    if not waiting:
        watching.cancel()


async def _let_go_at_end(waiting: Iterable[_Uncancelled[Any]]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        for each in waiting:
            each.let_go()


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
    _pool.submit(_Job(function, outcome))
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
    return await _finished(asyncio.ensure_future(awaitable), seconds)


async def _finished(future: asyncio.Future[T], seconds: float | None = None) -> T:
    if not future.done():
        loop = asyncio.get_running_loop()
        ending: _Uncancelled[None] = _Uncancelled(loop=loop)
        come = partial(_come, ending)
        future.add_done_callback(come)
        timer = None if seconds is None else loop.call_later(seconds, come)
        try:
            await ending
        except asyncio.CancelledError:
            if not future.done():
                _leave(future)
            elif not future.cancelled():
                future.exception()  # looked at, so that asyncio does not report it as never retrieved
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not future.done():
            _leave(future)
            raise TimeoutError(f"The call has not ended within {seconds:g} s: try again, or allow more seconds")
    return future.result()


def _come(ending: asyncio.Future[None], _future: object = None) -> None:
    if not ending.done():
        ending.set_result(None)


class _Uncancelled(asyncio.Future[T]):
    """A future that the cancellation of its waiter leaves alone.

    asyncio then lets the task wait on, and cancels it as soon as the future is done.
    """

    def cancel(self, msg: object = None) -> bool:
        """Refuse."""
        del msg
        return False

    def let_go(self) -> None:
        """Be cancelled all the same."""
        super().cancel()


_watched: dict[asyncio.AbstractEventLoop, set[_Uncancelled[Any]]] = {}
"""What is waited for on the event loops whose end is watched."""


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


class _Job:
    """One call on its way to a thread and back."""

    __slots__ = ("_context", "_function", "_outcome", "loop")

    def __init__(
        self,
        function: Callable[[], Any],
        outcome: asyncio.Future[Any] | Future[Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._function = function
        self._outcome = outcome
        self.loop = loop
        """The loop of `outcome`; ``None`` if a thread waits for it."""
        self._context = copy_context()

    def run(self) -> Callable[[], None] | None:
        """Call the function, and return a callable that delivers its result or exception; ``None`` without need."""
        if self._outcome.cancelled():  # its event loop has ended while it waited for a thread
            return None
        try:
            value, error = self._context.run(self._function), None
        except BaseException as raised:  # noqa: BLE001  # raised again by whoever waits for it
            value, error = None, raised
        if self.loop is None:
            return partial(_set, self._outcome, value, error)
        return partial(_tell, self.loop, self._outcome, value, error)


def _tell(
    loop: asyncio.AbstractEventLoop,
    outcome: asyncio.Future[Any] | Future[Any],
    value: Any,
    error: BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(_settle, outcome, value, error)
    except RuntimeError:
        # The loop has ended without waiting, so nobody is left to be told.
        if not loop.is_closed():
            raise


def _settle(outcome: asyncio.Future[Any] | Future[Any], value: Any, error: BaseException | None) -> None:
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

    def __init__(self, pool: _Pool) -> None:
        super().__init__(name="litestar-filestore worker", daemon=True)
        self._pool = pool
        self.jobs: SimpleQueue[_Job] = SimpleQueue()

    def run(self) -> None:
        """Run jobs until the thread has been idle for a while."""
        while (job := self._next()) is not None:
            while job is not None:
                tell = job.run()
                job = self._pool.following(self, job)  # before `tell`: the caller may submit its next job at once
                if tell is not None:
                    tell()
                del tell  # it holds the result

    def _next(self) -> _Job | None:
        try:
            return self.jobs.get(timeout=_IDLE_SECONDS)
        except Empty:
            # If it was just taken from the idle ones, its job is on the way.
            return None if self._pool.leave(self) else self.jobs.get()


class _Pool:
    """The threads of this process."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start over without threads."""
        self._lock = Lock()
        # The one that worked last is taken first, so that the others can end.
        self._idle: list[_Worker] = []
        self._waiting: deque[_Job] = deque()
        self._running = 0

    def submit(self, job: _Job) -> None:
        """Let a thread run a job: an idle one, or a new one. A job of an event loop may have to wait for its turn."""
        _forget_threads_of_parent()
        with self._lock:
            if job.loop is not None:
                if self._running >= MOST_THREADS:
                    self._waiting.append(job)
                    return
                self._running += 1
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(self)
            try:
                worker.start()
            except RuntimeError:  # the system allows no more threads
                with self._lock:
                    self._running -= job.loop is not None
                raise
        worker.jobs.put(job)

    def following(self, worker: _Worker, job: _Job) -> _Job | None:
        """Return the job that a worker runs next; ``None`` if it is idle now."""
        with self._lock:
            if job.loop is not None:
                if self._waiting:
                    return self._waiting.popleft()
                self._running -= 1
            self._idle.append(worker)
            return None

    def leave(self, worker: _Worker) -> bool:
        """Return whether a worker may end."""
        with self._lock:
            is_idle = worker in self._idle
            if is_idle:
                self._idle.remove(worker)
            return is_idle


_pool = _Pool()


@cache
def _forget_threads_of_parent() -> None:
    # A forked child has none of its parent's threads. Registered with the first thread: an import must have no effect.
    os.register_at_fork(after_in_child=_pool.clear)
