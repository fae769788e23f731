"""Gets: whole objects, ranges, abandoned streams."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from litestar_filestore.errors import InvalidArgumentError, ObjectNotFoundError, RangeNotSatisfiableError
from litestar_filestore.testing.contents import MIB, content
from litestar_filestore.testing.harness import Harness, in_loop, once_each

if TYPE_CHECKING:
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("GetConformance",)

SIZE = 2 * MIB + 7
MAX_BLOCK_BYTES = 8 * MIB
"""The contract says "a few MiB"."""
ABANDONED = 40
"""More streams than any pool of connections holds by default."""

RANGES: dict[str, tuple[int, int | None]] = {
    "whole": (0, None),
    "whole by its size": (0, SIZE),
    "first byte": (0, 1),
    "inside": (5, 15),
    "across a block": (MIB - 3, MIB + 3),
    "several blocks": (100, 2 * MIB),
    "to the end": (1_000_000, None),
    "last byte": (SIZE - 1, SIZE),
    "last byte, open": (SIZE - 1, None),
    "past the end": (SIZE - 10, SIZE + 1),
    "far past the end": (3, 2**40),
}


class GetConformance(Harness):
    """Gets read, or refuse."""

    @pytest.mark.parametrize(("start", "end"), RANGES.values(), ids=RANGES)
    @in_loop
    async def test_range(self, storage: AsyncHalf, start: int, end: int | None) -> None:
        """A range gives exactly its bytes; an end past the object's means the object's end."""
        await storage.put(content(SIZE), key=storage.key("a"))
        assert await storage.read(storage.key("a"), start, end) == content(SIZE)[start:end]

    @pytest.mark.parametrize("position", [0, 5, SIZE - 1])
    @in_loop
    async def test_empty_range(self, storage: AsyncHalf, position: int) -> None:
        """A range of no bytes gives none."""
        await storage.put(content(SIZE), key=storage.key("a"))
        assert await storage.read(storage.key("a"), position, position) == b""

    @pytest.mark.parametrize(("start", "end"), [(3, None), (3, 4), (4, None), (4, 9), (2**40, None)])
    @in_loop
    async def test_range_behind_the_end_is_refused(self, storage: AsyncHalf, start: int, end: int | None) -> None:
        """A range that begins at or after the end is an error, not an empty result."""
        await storage.put(b"abc", key=storage.key("a"))
        with pytest.raises(RangeNotSatisfiableError) as caught:
            await storage.read(storage.key("a"), start, end)
        assert (caught.value.operation, caught.value.key) == ("get", storage.key("a"))
        assert caught.value.size in {None, 3}

    @pytest.mark.parametrize("end", [None, 1, 100])
    @in_loop
    async def test_range_of_an_empty_object(self, storage: AsyncHalf, end: int | None) -> None:
        """An empty object reads as no bytes, although no byte of the range is there."""
        await storage.put(b"", key=storage.key("a"))
        assert await storage.read(storage.key("a"), 0, end) == b""

    @pytest.mark.parametrize("end", [None, 5])
    @in_loop
    async def test_range_inside_an_empty_object_is_refused(self, storage: AsyncHalf, end: int | None) -> None:
        """A range that begins at byte 1 of an empty object is an error."""
        await storage.put(b"", key=storage.key("a"))
        with pytest.raises(RangeNotSatisfiableError):
            await storage.read(storage.key("a"), 1, end)

    @pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
    @in_loop
    async def test_range_that_is_none_is_refused(self, storage: AsyncHalf, start: int, end: int | None) -> None:
        """Negative and reversed ranges are caller errors."""
        await storage.put(b"abcdefghij", key=storage.key("a"))
        with pytest.raises(InvalidArgumentError):
            await storage.read(storage.key("a"), start, end)

    @pytest.mark.parametrize(("start", "end"), [(0, None), (0, 10), (5, None), (5, 10), (5, 5)])
    @in_loop
    async def test_get_of_a_missing_object(self, storage: AsyncHalf, start: int, end: int | None) -> None:
        """The error for a missing object has operation, backend and key, for every operation."""
        with pytest.raises(ObjectNotFoundError) as caught:
            await storage.read(storage.key("missing"), start, end)
        error = caught.value
        assert (error.operation, error.backend, error.key) == ("get", storage.backend.key, storage.key("missing"))
        assert isinstance(error, FileNotFoundError)

    @once_each
    @in_loop
    async def test_blocks_are_bounded(self, storage: AsyncHalf) -> None:
        """A large object comes in blocks of ``bytes``, none of them empty, none larger than a few MiB."""
        data = content(20 * MIB)
        await storage.put(data, key=storage.key("a"))
        blocks = [block async for block in storage.get(storage.key("a"))]
        assert {type(block) for block in blocks} == {bytes}
        assert min(map(len, blocks)) > 0
        assert max(map(len, blocks)) <= MAX_BLOCK_BYTES
        assert b"".join(blocks) == data

    @in_loop
    async def test_streams_may_be_given_up(self, storage: AsyncHalf) -> None:
        """Streams that are closed after their first block free what they hold, so the store can still be read."""
        await storage.put(content(SIZE), key=storage.key("a"))
        for _ in range(ABANDONED):
            async with aclosing(storage.get(storage.key("a"))) as blocks:
                assert content(SIZE).startswith(await anext(blocks))
        assert await storage.read(storage.key("a")) == content(SIZE)

    @in_loop
    async def test_stream_that_never_began(self, storage: AsyncHalf) -> None:
        """A stream that is closed before its first block sends nothing to the store."""
        async with aclosing(storage.get(storage.key("missing"))):
            pass

    @in_loop
    async def test_two_streams_of_one_object(self, storage: AsyncHalf) -> None:
        """Streams of one object do not share a position."""
        await storage.put(content(SIZE), key=storage.key("a"))
        async with aclosing(storage.get(storage.key("a"))) as first, aclosing(storage.get(storage.key("a"))) as second:
            begun = await anext(first)
            assert b"".join([block async for block in second]) == content(SIZE)
            assert begun + b"".join([block async for block in first]) == content(SIZE)
