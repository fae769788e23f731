"""Atomicity: readers see the old object or the new one, whatever happens to the put."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from litestar_filestore.errors import FileTooLargeError, ObjectChangedError, ObjectNotFoundError, SourceTypeError
from litestar_filestore.testing.contents import MIB, content, matching
from litestar_filestore.testing.halves import Gate
from litestar_filestore.testing.harness import Harness, async_forms, in_loop, once_each

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from litestar_filestore.testing.halves import AsyncHalf

    Leftovers = Callable[[], Sequence[str]] | None

__all__ = ("AtomicConformance", "ReaderConformance", "assert_clean", "assert_untouched")

OLD = b"old content"
SMALL, LARGE = 100_000, 12 * MIB
"""Content that fits in one request to any store, and content of several parts."""


class SourceBrokenError(Exception):
    """Raised by a source in the middle: an exception that no library knows."""


async def put_old(storage: AsyncHalf, *, wanted: bool) -> None:
    """Put the object that a failing put must leave, if there is to be one."""
    if wanted:
        await storage.put(OLD, key=storage.key("a"))


async def assert_untouched(storage: AsyncHalf, *, old: bool) -> None:
    """Make sure that the folder holds what `put_old` put, and nothing else."""
    assert await storage.names() == (["a"] if old else [])
    assert await storage.exists(storage.key("a")) is old
    if old:
        assert await storage.read(storage.key("a")) == OLD


async def assert_clean(storage: AsyncHalf, leftovers: Leftovers) -> None:
    """Make sure that `clean` runs, keeps the objects and leaves nothing in hidden places."""
    before = await storage.names()
    assert await storage.clean(older_than=0) >= 0
    assert await storage.names() == before
    if leftovers is not None:
        assert list(leftovers()) == []


class AtomicConformance(Harness):
    """Puts that fail or are cancelled."""

    @pytest.mark.parametrize("old", [False, True], ids=["new", "over old"])
    @pytest.mark.parametrize("size", [0, SMALL], ids=["before the first block", "in the middle"])
    @in_loop
    async def test_source_that_raises(self, storage: AsyncHalf, leftovers: Leftovers, size: int, *, old: bool) -> None:
        """When the source raises, its own exception comes out and the key holds what it held before."""
        await _break(storage, size, old=old)
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)

    @once_each
    @pytest.mark.parametrize("old", [False, True], ids=["new", "over old"])
    @in_loop
    async def test_source_that_raises_late(self, storage: AsyncHalf, leftovers: Leftovers, *, old: bool) -> None:
        """The same after 12 MiB, when parts have been sent."""
        await _break(storage, LARGE, old=old)
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)

    @in_loop
    async def test_source_of_text(self, storage: AsyncHalf) -> None:
        """A piece that is not bytes makes the put fail, and nothing of the earlier pieces is kept."""
        pieces: list[Any] = [b"x" * SMALL, "text"]
        with pytest.raises(SourceTypeError):
            await storage.put(iter(pieces), key=storage.key("a"))
        await assert_untouched(storage, old=False)

    @pytest.mark.parametrize("old", [False, True], ids=["new", "over old"])
    @in_loop
    async def test_source_longer_than_the_limit(self, storage: AsyncHalf, leftovers: Leftovers, *, old: bool) -> None:
        """A stream that turns out longer than allowed leaves nothing of itself."""
        await put_old(storage, wanted=old)
        pieces = iter([b"x" * SMALL] * 20)
        with pytest.raises(FileTooLargeError) as caught:
            await storage.put(pieces, key=storage.key("a"), overwrite=True, max_bytes=15 * SMALL)
        assert caught.value.max_bytes == 15 * SMALL
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)

    @async_forms
    @pytest.mark.parametrize("old", [False, True], ids=["new", "over old"])
    @pytest.mark.parametrize("size", [1, LARGE], ids=["early", "late"])
    @in_loop
    async def test_task_cancelled(self, storage: AsyncHalf, leftovers: Leftovers, size: int, *, old: bool) -> None:
        """A put whose task is cancelled while it waits for its source ends at once and leaves what was there."""
        await put_old(storage, wanted=old)

        async def cancel_in_the_middle() -> None:
            async with storage.stopped_put(storage.key("a"), before=content(size), after=b"rest") as put:
                put.cancel()
                await put

        with pytest.raises(asyncio.CancelledError):
            await cancel_in_the_middle()
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)

    @async_forms
    @pytest.mark.parametrize("old", [False, True], ids=["new", "over old"])
    @in_loop
    async def test_scope_cancelled(self, storage: AsyncHalf, leftovers: Leftovers, *, old: bool) -> None:
        """The same for anyio's scopes, which cancel again at every `await` of the clean-up."""
        await put_old(storage, wanted=old)
        gate, scope = Gate(), anyio.CancelScope()

        async def put() -> None:
            with scope:
                source = gate.blocks_async(before=content(LARGE), after=b"rest")
                await storage.put(source, key=storage.key("a"), overwrite=True)

        async with anyio.create_task_group() as group:
            group.start_soon(put)
            await gate.reached.wait()
            scope.cancel()
        assert scope.cancelled_caught
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)

    @async_forms
    @pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
    @in_loop
    async def test_task_cancelled_at_the_end(self, storage: AsyncHalf, leftovers: Leftovers, size: int) -> None:
        """A put that is cancelled while it finishes has happened either completely or not at all."""
        await put_old(storage, wanted=True)

        async def source() -> AsyncGenerator[bytes, None]:
            yield content(size)
            put.cancel()

        put = asyncio.create_task(storage.put(source(), key=storage.key("a"), overwrite=True))
        await asyncio.wait({put})
        outcomes = [OLD, content(size)] if put.cancelled() else [content(put.result().size)]
        seen = await storage.read(storage.key("a"))
        assert seen in outcomes, f"{len(seen)} bytes, at first {[matching(seen, each) for each in outcomes]} as put"
        assert await storage.names() == ["a"]
        await assert_clean(storage, leftovers)

    @in_loop
    async def test_key_can_be_used_after_a_failure(self, storage: AsyncHalf) -> None:
        """A failed put does not keep the key reserved, nor the store busy."""
        await _break(storage, SMALL, old=False)
        await storage.put(b"abc", key=storage.key("a"))
        assert await storage.read(storage.key("a")) == b"abc"

    @in_loop
    async def test_clean_spares_puts_under_way(self, storage: AsyncHalf) -> None:
        """Cleaning up what is older than an hour does not touch a put that has just begun."""
        if not self.server_dates_uploads:
            pytest.skip("the server tells a wrong age of unfinished uploads")
        async with storage.stopped_put(storage.key("a"), before=content(LARGE), after=b""):
            assert await storage.clean(older_than=3600) == 0
        assert await storage.read(storage.key("a")) == content(LARGE)


class ReaderConformance(Harness):
    """Readers beside a writer."""

    @in_loop
    async def test_unfinished_put_is_invisible(self, storage: AsyncHalf) -> None:
        """While content arrives, a new key does not exist yet."""
        async with storage.stopped_put(storage.key("a"), before=content(6 * MIB), after=b"rest"):
            assert not await storage.exists(storage.key("a"))
        assert await storage.read(storage.key("a")) == content(6 * MIB) + b"rest"

    @in_loop
    async def test_unfinished_overwrite_is_invisible(self, storage: AsyncHalf) -> None:
        """While new content arrives, readers get the old content."""
        await put_old(storage, wanted=True)
        async with storage.stopped_put(storage.key("a"), before=content(6 * MIB), after=b"rest"):
            assert await storage.read(storage.key("a")) == OLD
            assert (await storage.head(storage.key("a"))).size == len(OLD)
        assert await storage.read(storage.key("a")) == content(6 * MIB) + b"rest"

    @pytest.mark.parametrize("new_size", [3, 6 * MIB, 9 * MIB], ids=["shorter", "equal", "longer"])
    @in_loop
    async def test_reader_during_an_overwrite(self, storage: AsyncHalf, new_size: int) -> None:
        """A stream that began before an overwrite gives the old content to its end, or an error; never a mix."""
        old, new = content(6 * MIB), content(new_size, seed=1)
        await storage.put(old, key=storage.key("a"))
        async with aclosing(storage.get(storage.key("a"))) as blocks:
            begun = await anext(blocks)
            await storage.put(new, key=storage.key("a"), overwrite=True)
            try:
                whole = begun + b"".join([block async for block in blocks])
            except ObjectChangedError:
                return
        assert whole == old

    @in_loop
    async def test_reader_during_a_delete(self, storage: AsyncHalf) -> None:
        """A stream whose object is deleted gives the content to its end, or an error; it never just ends."""
        await storage.put(content(6 * MIB), key=storage.key("a"))
        async with aclosing(storage.get(storage.key("a"))) as blocks:
            begun = await anext(blocks)
            await storage.delete(storage.key("a"))
            try:
                whole = begun + b"".join([block async for block in blocks])
            except (ObjectChangedError, ObjectNotFoundError):
                return
        assert whole == content(6 * MIB)

    @once_each
    @in_loop
    async def test_readers_beside_a_writer(self, storage: AsyncHalf) -> None:
        """Readers that come while one key is written again and again see one of its contents each time."""
        contents = [content(size, seed=2) for size in (3 * MIB, 2 * MIB + 1)]
        await storage.put(contents[0], key=storage.key("a"))

        async def write() -> None:
            for number in range(12):
                await storage.put(contents[number % 2], key=storage.key("a"), overwrite=True)

        async def read() -> None:
            while not writer.done():
                try:
                    seen = await storage.read(storage.key("a"))
                except ObjectChangedError:
                    continue
                except ObjectNotFoundError:
                    assert not self.server_replaces_atomically
                    continue
                assert seen in contents, f"{len(seen)} bytes, at first {[matching(seen, each) for each in contents]}"

        writer = asyncio.create_task(write())
        await asyncio.gather(writer, read(), read(), read())


async def _break(storage: AsyncHalf, size: int, *, old: bool) -> None:
    """Put from a source that raises after `size` bytes, and check that the same exception comes out."""
    await put_old(storage, wanted=old)
    broken = SourceBrokenError("the client went away")

    def source() -> Iterator[bytes]:
        for start in range(0, size, SMALL):
            yield content(size)[start : start + SMALL]
        raise broken

    with pytest.raises(SourceBrokenError) as caught:
        await storage.put(source(), key=storage.key("a"), overwrite=True)
    assert caught.value is broken
