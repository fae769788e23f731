"""Blocking calls off the event loop that finish before anybody learns that they were cancelled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from litestar_filestore.core.threads import MOST_THREADS, end_watched, finish, run_blocking, run_in_thread, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture(params=["bare", "watched"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Run a test without an application on its event loop, and with one."""
    async with end_watched() if request.param == "watched" else nullcontext():
        yield


both_ways = pytest.mark.usefixtures("way")


async def test_runs_in_another_thread() -> None:
    """The function runs off the event loop's thread, and its result comes back."""
    assert await run_blocking(threading.get_ident) != threading.get_ident()


async def test_event_loop_goes_on_meanwhile() -> None:
    """The event loop can do what the function waits for."""
    released = threading.Event()
    waiting = asyncio.create_task(run_blocking(lambda: released.wait(10)))
    await asyncio.sleep(0)
    released.set()
    assert await waiting


@both_ways
async def test_exception_comes_out() -> None:
    """What the function raises is raised."""

    def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        await run_blocking(fail)


@both_ways
async def test_cancelled_task_waits_for_the_thread() -> None:
    """A cancelled task learns of it when the function has returned, not before."""
    begun, released, finished = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(10)
        finished.set()

    task = asyncio.create_task(run_blocking(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished.is_set()


@both_ways
async def test_task_cancelled_twice_waits_for_the_thread() -> None:
    """Impatience does not help: every cancellation waits for the function."""
    begun, released, finished = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(10)
        finished.set()

    task = asyncio.create_task(run_blocking(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished.is_set()


@both_ways
async def test_cancelled_scope_waits_for_the_thread() -> None:
    """The same for anyio's scopes, which deliver their cancellation again and again."""
    begun, finished = threading.Event(), threading.Event()
    released = threading.Event()

    def work() -> None:
        begun.set()
        released.wait(10)
        finished.set()

    async def release() -> None:
        await asyncio.to_thread(begun.wait, 10)
        scope.cancel()
        await asyncio.sleep(0)
        released.set()

    releasing = asyncio.create_task(release())
    with anyio.CancelScope() as scope:
        await run_blocking(work)
    assert scope.cancelled_caught
    assert finished.is_set()
    await releasing


@both_ways
async def test_cancellation_hides_the_exception() -> None:
    """A function that fails after its caller was cancelled does not replace the cancellation."""
    begun, released = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(10)
        raise LookupError

    task = asyncio.create_task(run_blocking(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_finish_passes_the_result_on() -> None:
    """Without a cancellation `finish` is nothing but `await`."""

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await finish(work()) == "done"


async def test_finish_of_something_that_is_cancelled_itself() -> None:
    """A cancellation from inside comes out at once."""
    inner = asyncio.get_running_loop().create_future()
    inner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish(inner)


@both_ways
async def test_context_variables_are_the_callers() -> None:
    """The function sees the context variables of whoever calls."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    assert await run_blocking(variable.get) == "mine"


@both_ways
async def test_stop_iteration_comes_out_as_another_error() -> None:
    """No coroutine can raise StopIteration, so it is the cause of what is raised."""
    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        await run_blocking(partial(next, iter(())))
    assert isinstance(raised.value.__cause__, StopIteration)


async def test_within_passes_the_result_on() -> None:
    """What ends in time is nothing but awaited."""
    assert await within(30, run_blocking(lambda: "done")) == "done"


@both_ways
async def test_within_does_not_wait_for_a_thread_that_hangs() -> None:
    """Its caller goes on although the thread does, which no cancellation can stop."""
    released = threading.Event()
    try:
        with pytest.raises(TimeoutError, match="has not ended"):
            await within(0.05, run_blocking(lambda: released.wait(30)))
    finally:
        released.set()


@both_ways
async def test_finish_leaves_what_takes_longer_than_allowed() -> None:
    """With a limit a cancelled task does not wait for a thread that hangs."""
    begun, released = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(30)

    task = asyncio.create_task(finish(run_blocking(work), seconds=0.2))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        released.set()


async def test_within_cancels_what_it_leaves() -> None:
    """A coroutine that takes too long is cancelled, so that it frees what it holds."""
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await within(0.05, work())
    await asyncio.wait_for(cancelled.wait(), 30)


_HANGS = """
import asyncio, sys, threading
from contextlib import AsyncExitStack
from litestar_filestore.core.threads import end_watched, run_blocking

async def main(way):
    stack = AsyncExitStack()
    if way != "bare":
        await stack.enter_async_context(end_watched())
    hanging = asyncio.ensure_future(run_blocking(threading.Event().wait))
    await asyncio.sleep(0)
    await run_blocking(int)
    if way == "stopped":
        await stack.aclose()
    main.kept = stack, hanging

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("way", ["bare", "running", "stopped"])
def test_a_thread_that_hangs_keeps_no_process(way: str) -> None:
    """Neither the end of the event loop nor that of the process waits for a thread that never ends."""
    done = subprocess.run([sys.executable, "-c", _HANGS, way], timeout=30, check=True, capture_output=True)
    assert done.stderr == b""


async def test_applications_share_the_watch() -> None:
    """A second application on the same event loop needs no task more, and neither leaves one."""
    async with end_watched():
        tasks = asyncio.all_tasks()
        async with end_watched():
            assert asyncio.all_tasks() == tasks
        assert await run_blocking(lambda: "done") == "done"
    assert len(asyncio.all_tasks()) == len(tasks) - 1


async def test_threads_are_bounded() -> None:
    """At most `MOST_THREADS` functions run at the same time; the others come later, in their order."""
    released = threading.Event()
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        released.wait(30)

    waiting = [asyncio.create_task(run_blocking(partial(work, number))) for number in range(MOST_THREADS + 3)]
    await run_in_thread_elsewhere(lambda: wait_for_threads(begun))
    assert len(begun) == MOST_THREADS
    released.set()
    await asyncio.gather(*waiting)
    assert sorted(begun[MOST_THREADS:]) == list(range(MOST_THREADS, MOST_THREADS + 3))


def wait_for_threads(begun: list[int]) -> None:
    """Return when as many functions run as may."""
    while len(begun) < MOST_THREADS:
        time.sleep(0.001)


async def run_in_thread_elsewhere(function: Callable[[], object]) -> None:
    """Let sync code wait for a function, which the bound does not hold up."""
    await asyncio.to_thread(run_in_thread, function, seconds=10)


def test_sync_code_runs_something_elsewhere() -> None:
    """`run_in_thread` runs a function in another thread, in the caller's context, and returns what it returns."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    value, thread = run_in_thread(lambda: (variable.get(), threading.get_ident()))
    assert value == "mine"
    assert thread != threading.get_ident()


def test_sync_code_gets_what_is_raised() -> None:
    """What the function raises is raised, ``StopIteration`` and a ``TimeoutError`` of its own too."""
    for error in (LookupError("no such thing"), StopIteration(1), TimeoutError("its own")):
        with pytest.raises(type(error)) as caught:
            run_in_thread(partial(raise_, error), seconds=10)
        assert caught.value is error


def raise_(error: Exception) -> None:
    """Raise `error`."""
    raise error


def test_sync_code_leaves_what_takes_too_long() -> None:
    """A function that does not end in time is left behind."""
    released = threading.Event()
    with pytest.raises(TimeoutError, match=r"not ended within 0\.01 s"):
        run_in_thread(released.wait, seconds=0.01)
    released.set()


def test_import_registers_nothing() -> None:
    """Importing the package hangs nothing into the process's fork."""
    program = (
        "import os\n"
        "real, seen = os.register_at_fork, []\n"
        "os.register_at_fork = lambda **hooks: seen.append(getattr(hooks.get('after_in_child'), '__module__', ''))\n"
        "import litestar_filestore.core.threads as threads, litestar_filestore.backends.local.local_backend\n"
        "before = seen.count(threads.__name__)\n"
        "threads.run_in_thread(int)\n"
        "print(before, seen.count(threads.__name__))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]
