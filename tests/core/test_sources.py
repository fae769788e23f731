"""From everything that bytes can come from to one iterator of blocks."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, strategies

from litestar_filestore.core.sources import AsyncFeed, Feed, Meter, iter_blocks, iter_blocks_async, source_size
from litestar_filestore.core.types import BLOCK_BYTES, Source
from litestar_filestore.errors import FileTooLargeError, SourceTypeError, StorageError
from litestar_filestore.testing.contents import ASYNC_SOURCE_KINDS, SOURCE_KINDS, AsyncFile, content, source_of
from litestar_filestore.testing.leaks import open_descriptors


async def collect(source: Any) -> list[bytes]:
    """Read a source asynchronously, copying each block while it is valid."""
    return [bytes(block) async for block in iter_blocks_async(source)]


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_blocks_of_a_source(kind: str, tmp_path: Path) -> None:
    """Every kind of source comes out whole, in blocks of 1 byte to `BLOCK_BYTES`."""
    with source_of(kind, content(), tmp_path) as source:
        blocks = [bytes(block) for block in iter_blocks(cast("Source", source))]
    assert b"".join(blocks) == content()
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)


@pytest.mark.parametrize("kind", SOURCE_KINDS + ASYNC_SOURCE_KINDS)
async def test_async_blocks_of_a_source(kind: str, tmp_path: Path) -> None:
    """The async half reads all of them, and the async ones as well, into the same blocks."""
    with source_of(kind, content(), tmp_path) as source:
        blocks = await collect(source)
    assert b"".join(blocks) == content()
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)


@pytest.mark.parametrize(
    "empty",
    [b"", bytearray(), [], [b"", b""], io.BytesIO(), iter(())],
    ids=["bytes", "bytearray", "list", "list of empty", "file", "iterator"],
)
async def test_empty_source_has_no_block(empty: Any) -> None:
    """Nothing is no block at all, rather than an empty one."""
    assert list(iter_blocks(empty)) == []
    assert await collect(empty) == []


def test_small_pieces_are_gathered() -> None:
    """Many small pieces become few blocks: each block costs a thread hop or a library call."""
    assert [len(block) for block in iter_blocks([b"x" * 1_000] * 2_000)] == [1_048_000, 952_000]


def test_large_pieces_are_cut_without_a_copy() -> None:
    """A large piece is handed on in slices of the same memory."""
    data = content(3 * BLOCK_BYTES)
    blocks = list(iter_blocks([data]))
    assert len(blocks) == 3
    assert all(isinstance(block, memoryview) and block.obj is data for block in blocks)


@given(strategies.lists(strategies.integers(0, 3 * BLOCK_BYTES), max_size=6))
def test_any_cut_gives_the_same_content(lengths: list[int]) -> None:
    """However content arrives, it comes out complete, in order and in bounded blocks."""
    pieces = [content(length, seed=number) for number, length in enumerate(lengths)]
    blocks = [bytes(block) for block in iter_blocks(pieces)]
    assert b"".join(blocks) == b"".join(pieces)
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)


def test_nothing_is_read_ahead() -> None:
    """A source is asked for no more than the block that is wanted, so memory stays bounded."""
    asked: list[int] = []

    def source() -> Iterator[bytes]:
        for number in range(10):
            asked.append(number)
            yield b"x" * BLOCK_BYTES

    blocks = iter_blocks(source())
    next(blocks)
    next(blocks)
    assert asked == [0, 1]


@pytest.mark.parametrize(
    "source",
    ["text", 7, object(), ["text"], [b"a", "text"], [[1, 2]], io.StringIO("text"), memoryview(b"abcd")[::2]],
    ids=["str", "int", "object", "list of str", "list of bytes and str", "list of lists", "StringIO", "gaps"],
)
async def test_what_is_no_source_is_refused(source: Any) -> None:
    """Text and what yields no bytes is refused by both halves, as a ``TypeError`` too."""
    with pytest.raises(SourceTypeError):
        list(iter_blocks(source))
    if not isinstance(source, io.StringIO):
        with pytest.raises(TypeError):
            await collect(source)


async def test_async_source_is_refused_by_the_sync_half() -> None:
    """What can only be awaited is named in the error of the sync half, with what to do."""
    source: Any = AsyncFile(b"abc")
    with pytest.raises(SourceTypeError, match="_async"):
        list(iter_blocks(source))


def test_path_is_closed_when_reading_stops(tmp_path: Path) -> None:
    """A file that was opened here is closed here, also when it is not read to its end."""
    path = tmp_path / "a"
    path.write_bytes(content())
    blocks: Any = iter_blocks(path)
    next(blocks)
    blocks.close()
    assert str(path) not in open_descriptors().values()


def test_missing_path_raises_its_own_error(tmp_path: Path) -> None:
    """A source file that is not there is the caller's ``FileNotFoundError``."""
    with pytest.raises(FileNotFoundError):
        list(iter_blocks(tmp_path / "missing"))


async def test_sync_source_does_not_block_the_event_loop() -> None:
    """A generator that waits is run in a thread; the event loop can release it."""
    release = threading.Event()

    def source() -> Iterator[bytes]:
        assert release.wait(10)
        yield b"abc"

    reading = asyncio.create_task(collect(source()))
    await asyncio.sleep(0)
    release.set()
    assert await reading == [b"abc"]


def test_size_is_known_without_reading(tmp_path: Path) -> None:
    """Buffers and paths tell their size, other sources do not."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    wide = memoryview(b"abcdefgh").cast("H")
    known: list[Any] = [b"abc", bytearray(b"abc"), path, wide]
    assert [source_size(source) for source in known] == [3, 3, 3, 8]
    assert source_size([b"abc"]) is None
    assert source_size(io.BytesIO(b"abc")) is None


def test_feed_meters_what_passes() -> None:
    """A feed counts and hashes, and knows when it was read to the end."""
    meter = Meter()
    feed = Feed([b"abc", b"def"], meter)
    assert b"".join(bytes(block) for block in feed) == b"abcdef"
    assert (meter.size, feed.exhausted) == (6, True)


def test_feed_is_not_exhausted_before_its_end() -> None:
    """A driver that stops early is found out."""
    feed = Feed([content()], Meter())
    next(feed)
    assert not feed.exhausted


def test_feed_remembers_the_failure() -> None:
    """A driver that asks again after a failure gets the same exception, never a clean end."""
    broken = LookupError("gone")

    def source() -> Iterator[bytes]:
        yield content(BLOCK_BYTES)
        raise broken

    feed = Feed(source(), Meter())
    next(feed)
    for _ in range(2):
        with pytest.raises(LookupError):
            next(feed)
    assert feed.failure is broken
    assert not feed.exhausted


async def test_async_feed_remembers_the_failure() -> None:
    """The same for the async half."""
    broken = LookupError("gone")

    async def source() -> AsyncIterator[bytes]:
        yield content(BLOCK_BYTES)
        raise broken

    feed = AsyncFeed(source(), Meter())
    await anext(feed)
    for _ in range(2):
        with pytest.raises(LookupError):
            await anext(feed)
    assert feed.failure is broken
    assert not feed.exhausted


async def test_async_feed_that_was_cancelled_does_not_end() -> None:
    """A driver that gave up waiting for a block, and asks again, does not take the rest for the end."""

    async def source() -> AsyncIterator[bytes]:
        yield content(BLOCK_BYTES)
        await asyncio.Event().wait()

    feed = AsyncFeed(source(), Meter())
    await anext(feed)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(feed), 0.01)
    with pytest.raises(StorageError, match="cancelled"):
        await anext(feed)
    assert not feed.exhausted


@pytest.mark.parametrize("source", [content(), [content()], iter([content()])], ids=["bytes", "list", "iterator"])
def test_feed_stops_at_the_limit(source: bytes | Iterable[bytes]) -> None:
    """A limit ends the feed with its error, whatever the driver does with it."""
    feed = Feed(source, Meter(max_bytes=BLOCK_BYTES))
    next(feed)
    with pytest.raises(FileTooLargeError):
        next(feed)
    assert isinstance(feed.failure, FileTooLargeError)
