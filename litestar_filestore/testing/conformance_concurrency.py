"""One backend with many users: tasks, threads and event loops, one after the other and at the same time."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from litestar_filestore.testing.contents import MIB, content
from litestar_filestore.testing.halves import AsyncHalf, SyncHalf
from litestar_filestore.testing.harness import Harness, async_forms, in_loop, once_each
from litestar_filestore.testing.leaks import POLL_SECONDS, SETTLE_SECONDS, open_descriptors

__all__ = ("ConcurrencyConformance",)

AT_ONCE = 50
ROUNDS = 8
LOOP_SECONDS = 30.0
"""A longer wait means that a call waits for an event loop that is gone."""


def _sockets() -> list[str]:
    gc.collect()  # the traceback of an exception may hold a client in a reference cycle, which is not a leak
    return [target for target in open_descriptors().values() if target.startswith("socket:")]


async def _use(storage: AsyncHalf, name: str, size: int = 200_000) -> None:
    """Put, read, look up, list and delete one object."""
    key = storage.key(f"{name}/a")
    await storage.put(content(size), key=key)
    assert await storage.read(key) == content(size)
    assert (await storage.head(key)).size == size
    assert await storage.names(name) == [f"{name}/a"]
    await storage.delete(key)
    assert not await storage.exists(key)


class ConcurrencyConformance(Harness):
    """Several users share one backend."""

    @once_each
    @in_loop
    async def test_many_at_once(self, storage: AsyncHalf) -> None:
        """Fifty tasks that put, read, list and delete do not disturb each other."""
        await asyncio.gather(*(_use(storage, f"{number}") for number in range(AT_ONCE)))
        assert await storage.names() == []

    @once_each
    @in_loop
    async def test_many_readers_of_one_object(self, storage: AsyncHalf) -> None:
        """Fifty readers of one object all read it whole."""
        await storage.put(content(MIB), key=storage.key("a"))
        seen = await asyncio.gather(*(storage.read(storage.key("a")) for _ in range(AT_ONCE)))
        assert all(data == content(MIB) for data in seen)

    @async_forms
    @in_loop
    async def test_both_halves_at_once(self, storage: AsyncHalf) -> None:
        """Threads can use the sync half while the event loop uses the async one."""
        other = SyncHalf(storage.backend, storage.folder)
        uses = [_use(half, f"{half is other}-{number}") for number in range(5) for half in (storage, other)]
        await asyncio.gather(*uses)

    @async_forms
    @in_loop
    async def test_sync_half_inside_a_running_loop(self, storage: AsyncHalf) -> None:
        """Sync code that is called on the event loop's own thread works, although it blocks the loop."""
        backend, key = storage.backend, storage.key("a")
        backend.put(content(), key=key)
        assert b"".join(backend.get(key)) == content()
        assert backend.head(key).size == len(content())
        assert [info.key for info in backend.list(storage.folder)] == [key]
        backend.copy(key, storage.key("b"))
        backend.delete([key, storage.key("b")])
        assert not backend.exists(key)

    @pytest.mark.parametrize("closing", [True, False], ids=["closed", "left open"])
    @async_forms
    def test_event_loops_one_after_the_other(self, storage: AsyncHalf, *, closing: bool) -> None:
        """A backend that was used in one event loop works in the next, closed before or not."""

        async def use(*, close: bool) -> None:
            async with asyncio.timeout(LOOP_SECONDS):
                await _use(storage, "a")
            if close:
                await storage.backend.close_async()

        asyncio.run(use(close=closing))
        asyncio.run(use(close=closing))
        asyncio.run(use(close=True))
        storage.backend.close()

    @async_forms
    def test_event_loops_at_once(self, storage: AsyncHalf) -> None:
        """Event loops in several threads may use one backend."""
        failures: list[BaseException] = []

        async def use(name: str) -> None:
            async with asyncio.timeout(LOOP_SECONDS):
                for _ in range(5):
                    await _use(storage, name)
            await storage.backend.close_async()

        def work(name: str) -> None:
            try:
                asyncio.run(use(name))
            except BaseException as error:  # noqa: BLE001 - handed to the test's thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    @in_loop
    async def test_backend_works_after_close(self, storage: AsyncHalf) -> None:
        """A closed backend opens what it needs when it is used again."""
        await _use(storage, "a")
        await storage.backend.close_async()
        storage.backend.close()
        await _use(storage, "a")

    @once_each
    def test_close_frees_connections(self, storage: AsyncHalf) -> None:
        """Connections do not pile up, however often a backend is used and closed."""
        if not open_descriptors():
            pytest.skip("this system does not tell what is open")

        async def use() -> None:
            await _use(storage, "a")
            await storage.backend.close_async()

        before: list[str] = []
        for number in range(ROUNDS + 1):
            asyncio.run(use())
            storage.backend.close()
            if number == 0:
                before = _sockets()  # what is made once and kept for good is not counted
        deadline = time.monotonic() + SETTLE_SECONDS
        # Threads of the library close the last ones, and no event tells when.
        while len(_sockets()) - len(before) >= ROUNDS // 2 and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        assert len(_sockets()) - len(before) < ROUNDS // 2

    @in_loop
    async def test_backend_may_be_started(self, storage: AsyncHalf) -> None:
        """Starting is optional, changes nothing visible, and works in either form."""
        await storage.backend.start_async()
        storage.backend.start()
        await _use(storage, "a")

    @in_loop
    async def test_closing_an_unused_backend(self, storage: AsyncHalf) -> None:
        """A backend that was never used can be closed, even twice."""
        for _ in range(2):
            await storage.backend.close_async()
            storage.backend.close()
