"""Async reads through obstore: what is read ahead, for whom, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from obstore.exceptions import PreconditionError
from obstore.store import MemoryStore

from litestar_filestore.backends.obstore import gets as obstore_ahead
from litestar_filestore.backends.obstore.gets import LEAST_BYTES, ReadAhead, read_async

MIB = 1024 * 1024
TOTAL = 64 * MIB
CONTENT = os.urandom(20 * MIB + 7)


@pytest.fixture
def store() -> MemoryStore:
    """A store with one object."""
    store = MemoryStore()
    store.put("a", CONTENT)
    return store


def read(store: MemoryStore, memory: ReadAhead, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
    """Read the object."""
    return read_async(store, "a", start, end, memory)


async def given_back(memory: ReadAhead) -> None:
    """Return when nothing is held any more."""
    async with asyncio.timeout(20):
        while memory.free_bytes != TOTAL:  # noqa: ASYNC110  # a timer gives it back, of which nobody is told
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("start", "end"), [(0, None), (5, 6), (MIB - 1, 3 * MIB + 1), (19 * MIB, 99 * MIB)])
@pytest.mark.parametrize("total", [TOTAL, 0])
async def test_content_is_the_same_with_much_and_with_no_memory(
    store: MemoryStore, start: int, end: int | None, total: int
) -> None:
    """How much is read ahead is seen in nothing but time; in the end everything is given back."""
    memory = ReadAhead(total)
    assert b"".join([piece async for piece in read(store, memory, start, end)]) == CONTENT[start:end]
    assert memory.free_bytes == total


async def test_reader_who_stands_still_loses_what_was_read_ahead(store: MemoryStore) -> None:
    """After a pause nothing is held for the reader, and he reads on from where he was."""
    memory = ReadAhead(TOTAL)
    received = bytearray()
    async with aclosing(read(store, memory)) as pieces:
        async for piece in pieces:
            received += piece
            if len(received) in range(8 * MIB, 8 * MIB + len(piece)):
                assert memory.free_bytes < TOTAL
                await given_back(memory)
    assert bytes(received) == CONTENT


async def test_reader_who_leaves_gives_everything_back(store: MemoryStore) -> None:
    """A download that is broken off holds nothing, and leaves no request behind."""
    memory = ReadAhead(TOTAL)
    async with aclosing(read(store, memory)) as pieces:
        await anext(pieces)
        assert memory.free_bytes < TOTAL
    assert memory.free_bytes == TOTAL


async def test_new_reader_gets_small_pieces(store: MemoryStore) -> None:
    """What waits in a socket's buffer with somebody who takes nothing is small."""
    async with aclosing(read(store, ReadAhead(TOTAL))) as pieces:
        assert len(await anext(pieces)) == obstore_ahead.SMALL_PIECE_BYTES


async def test_reader_who_keeps_up_gets_large_pieces(store: MemoryStore) -> None:
    """Somebody who has taken some MiB without a pause is trusted with more at a time."""
    sizes = {len(piece) async for piece in read(store, ReadAhead(TOTAL))}
    assert max(sizes) == obstore_ahead.PIECE_BYTES


async def test_object_replaced_during_a_pause(store: MemoryStore) -> None:
    """What is asked for again belongs to the version that was begun, or is an error, which the driver translates."""
    memory = ReadAhead(TOTAL)
    async with aclosing(read(store, memory)) as pieces:
        await anext(pieces)
        await given_back(memory)
        store.put("a", CONTENT[::-1])
        with pytest.raises(PreconditionError):
            await anext(pieces)


def test_the_least_is_given_where_nothing_is_left() -> None:
    """Readers get on with little when others have everything; who wants less than the least gets just that."""
    memory = ReadAhead(MIB)
    assert [memory.take(each) for each in (MIB, MIB, 100)] == [MIB, LEAST_BYTES, 100]
    memory.give(MIB)
    assert memory.take(10 * MIB) == MIB - LEAST_BYTES - 100
