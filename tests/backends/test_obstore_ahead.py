"""Async reads through obstore: what is read ahead, for whom, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import obstore
import pytest
from litestar import Litestar, get
from obstore.exceptions import PreconditionError
from obstore.store import MemoryStore

from litestar_filestore import FileDownload, ObstoreBackend
from litestar_filestore.backends.obstore import gets as obstore_ahead
from litestar_filestore.backends.obstore.gets import LEAST_BYTES, ReadAhead, StoredVersion, open_version, read_async
from litestar_filestore.backends.obstore.kinds import kind_of
from litestar_filestore.errors import RangeNotSatisfiableError
from tests.uploads.scripted import Script, messages

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


async def opened(store: MemoryStore, memory: ReadAhead, path: str = "a") -> StoredVersion | None:
    """Open an object as the driver does."""
    return await open_version(store, path, 0, memory, partial(kind_of(store).info, path))


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


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 10), (5, 6), (MIB - 1, 3 * MIB + 1), (19 * MIB, 99 * MIB)])
async def test_an_open_version_is_read_like_any_object(store: MemoryStore, start: int, end: int | None) -> None:
    """The response that describes an object is used, and every range of the same version can be read."""
    memory = ReadAhead(TOTAL)
    version = await opened(store, memory)
    assert version is not None
    assert version.info.size == len(CONTENT)
    assert b"".join([piece async for piece in version.blocks(start, end)]) == CONTENT[start:end]
    version.close()
    assert memory.free_bytes == TOTAL


async def test_an_open_version_holds_nothing_after_its_end(store: MemoryStore) -> None:
    """A version that nobody reads gives back its bytes. An empty object is not opened, a missing one is an error."""
    memory = ReadAhead(TOTAL)
    version = await opened(store, memory)
    assert version is not None
    with pytest.raises(RangeNotSatisfiableError):
        version.blocks(len(CONTENT), None)
    version.close()
    store.put("empty", b"")
    assert await opened(store, memory, "empty") is None
    with pytest.raises(FileNotFoundError):
        await opened(store, memory, "missing")
    assert memory.free_bytes == TOTAL


async def test_a_version_that_is_replaced_meanwhile_is_an_error(store: MemoryStore) -> None:
    """Bytes of two versions are never mixed."""
    version = await opened(store, ReadAhead(TOTAL))
    assert version is not None
    store.put("a", CONTENT[::-1])
    with pytest.raises(PreconditionError):  # which the driver calls ObjectChangedError
        async for _ in version.blocks(0, None):
            pass
    version.close()


async def test_a_download_by_key_is_one_request(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response to a get tells what a head would tell, so that is not asked for before."""
    store.put("b", b"content")
    asked: list[str] = []

    def count(get: Any) -> Any:
        async def counting(*arguments: Any, **options: Any) -> Any:
            asked.append(arguments[1])
            return await get(*arguments, **options)

        return counting

    backend = ObstoreBackend("ahead", fs=store)

    @get("/file")
    async def file() -> FileDownload:
        return FileDownload.of(backend, "b")

    app = Litestar([file])
    client = Script(messages())
    for name in ("get_async", "head_async"):
        monkeypatch.setattr(obstore, name, count(getattr(obstore, name)))
    answer = await client.run(app, "/file", method="GET")
    assert (answer.status, answer.content) == (200, b"content")
    assert asked == ["b"]


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
