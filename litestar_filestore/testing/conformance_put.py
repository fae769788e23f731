"""Puts: every kind of source, every size, overwriting."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from litestar_filestore.core.types import BLOCK_BYTES, Capability
from litestar_filestore.errors import ObjectExistsError, SourceTypeError
from litestar_filestore.testing.contents import (
    ASYNC_SOURCE_KINDS,
    MIB,
    SOURCE_KINDS,
    AsyncFile,
    content,
    source_of,
)
from litestar_filestore.testing.halves import SyncHalf
from litestar_filestore.testing.harness import Harness, async_forms, in_loop, once_each, require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from litestar_filestore.core.types import ObjectInfo
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("PutConformance",)

RACERS = 20
MEETING_SECONDS = 2.0
"""Longest time that racers wait for each other: a driver may hold some of them back until others are done."""


class PutConformance(Harness):
    """Puts store, or refuse."""

    @pytest.mark.parametrize("kind", SOURCE_KINDS)
    @in_loop
    async def test_source_round_trips(self, storage: AsyncHalf, kind: str, tmp_path: Path) -> None:
        """Every kind of source is stored byte for byte."""
        with source_of(kind, content(), tmp_path) as source:
            info = await storage.put(source, key=storage.key("a"))
        assert await storage.read(storage.key("a")) == content()
        assert info.size == len(content())

    @async_forms
    @pytest.mark.parametrize("kind", ASYNC_SOURCE_KINDS)
    @in_loop
    async def test_async_source_round_trips(self, storage: AsyncHalf, kind: str, tmp_path: Path) -> None:
        """Sources that are read asynchronously are stored byte for byte."""
        with source_of(kind, content(), tmp_path) as source:
            await storage.put(source, key=storage.key("a"))
        assert await storage.read(storage.key("a")) == content()

    @in_loop
    async def test_async_source_is_refused_by_the_sync_half(self, storage: AsyncHalf) -> None:
        """A sync put says at once that it cannot read an async source."""
        with pytest.raises(SourceTypeError):
            storage.backend.put(AsyncFile(b"abc"), key=storage.key("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert not await storage.exists(storage.key("a"))

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1])
    @in_loop
    async def test_size_round_trips(self, storage: AsyncHalf, size: int) -> None:
        """Content of any length is stored whole: none at all, one byte, and around the size of a block."""
        info = await storage.put(content(size), key=storage.key("a"))
        assert await storage.read(storage.key("a")) == content(size)
        assert info.size == size

    @once_each
    @pytest.mark.parametrize("size", [8 * MIB + 1, 20 * MIB])
    @in_loop
    async def test_large_content_round_trips(self, storage: AsyncHalf, size: int) -> None:
        """Content of several parts is stored whole, whatever a part is for the store."""
        data = content(size)
        source = (data[start : start + 400_000] for start in range(0, size, 400_000))
        await storage.put(source, key=storage.key("a"))
        assert hashlib.sha256(await storage.read(storage.key("a"))).digest() == hashlib.sha256(data).digest()

    @once_each
    @in_loop
    async def test_large_overwrite_round_trips(self, storage: AsyncHalf) -> None:
        """Several parts over an old object, with the size and number of parts chosen by the caller."""
        data = content(11 * MIB)
        await storage.put(b"old", key=storage.key("a"))
        await storage.put(data, key=storage.key("a"), overwrite=True, part_bytes=5 * MIB, max_concurrency=2)
        assert hashlib.sha256(await storage.read(storage.key("a"))).digest() == hashlib.sha256(data).digest()

    @in_loop
    async def test_empty_source_makes_an_empty_object(self, storage: AsyncHalf) -> None:
        """A source that yields nothing is a file of zero bytes, not a missing one."""
        await storage.put(iter(()), key=storage.key("a"))
        assert (await storage.head(storage.key("a"))).size == 0
        assert await storage.read(storage.key("a")) == b""

    @in_loop
    async def test_info_is_complete(self, storage: AsyncHalf) -> None:
        """A put returns key, size, time, digest and a strong entity tag without another request."""
        info = await storage.put(b"abc", key=storage.key("a"))
        assert (info.key, info.size) == (storage.key("a"), 3)
        assert info.checksum == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
        assert re.fullmatch(r'"[^"]+"', info.etag or "")
        assert info.last_modified is not None
        assert abs(info.last_modified - time.time()) < 60  # noqa: PLR2004 - a clock in another time zone is an hour off

    @in_loop
    async def test_key_is_made_where_none_is_given(self, storage: AsyncHalf) -> None:
        """Without a key each put makes a new one."""
        first, second = await storage.put(b"1"), await storage.put(b"2")
        assert first.key != second.key
        assert (await storage.read(first.key), await storage.read(second.key)) == (b"1", b"2")
        await storage.delete([first.key, second.key])

    @in_loop
    async def test_overwrite_is_refused_unless_asked_for(self, storage: AsyncHalf) -> None:
        """A taken key is an error, and the old object stays."""
        await storage.put(b"old", key=storage.key("a"), content_type="text/plain")
        with pytest.raises(ObjectExistsError) as caught:
            await storage.put(b"new", key=storage.key("a"))
        assert await storage.read(storage.key("a")) == b"old"
        assert (caught.value.operation, caught.value.key) == ("put", storage.key("a"))

    @in_loop
    async def test_refused_overwrite_with_a_stream(self, storage: AsyncHalf) -> None:
        """Content of unknown length is refused for a taken key as well."""
        await storage.put(b"old", key=storage.key("a"))
        with pytest.raises(ObjectExistsError):
            await storage.put(iter([content()]), key=storage.key("a"))
        assert await storage.read(storage.key("a")) == b"old"

    @pytest.mark.parametrize(("old", "new"), [(b"old", b"new content"), (b"old content", b"new"), (b"old", b"")])
    @in_loop
    async def test_overwrite_replaces_all(self, storage: AsyncHalf, old: bytes, new: bytes) -> None:
        """A requested overwrite leaves nothing of the old object, longer or shorter."""
        await storage.put(old, key=storage.key("a"), metadata={"author": "old"})
        await storage.put(new, key=storage.key("a"), overwrite=True)
        assert await storage.read(storage.key("a")) == new
        info = await storage.head(storage.key("a"))
        assert (info.size, dict(info.metadata)) == (len(new), {})

    @once_each
    @in_loop
    async def test_one_of_many_creates_wins(self, storage: AsyncHalf) -> None:
        """Of concurrent puts on one key without `overwrite` one succeeds, and its content stays."""
        require(storage, Capability.PUT_IF_ABSENT)
        if not self.server_creates_atomically:
            pytest.skip("the server does not create atomically")
        meeting: _Meeting = _ThreadMeeting() if isinstance(storage, SyncHalf) else _TaskMeeting()
        contents = [b"racer %d" % number for number in range(RACERS)]
        puts = [storage.put(meeting.source(data), key=storage.key("a")) for data in contents]
        results: list[ObjectInfo | BaseException] = await asyncio.gather(*puts, return_exceptions=True)
        winners = [data for data, result in zip(contents, results, strict=True) if not isinstance(result, Exception)]
        losses = {type(result) for result in results if isinstance(result, Exception)}
        assert (len(winners), losses) == (1, {ObjectExistsError})
        assert await storage.read(storage.key("a")) == winners[0]


class _TaskMeeting:
    """A point in the sources of all racers where each waits for the others: whoever looked first has looked by then."""

    def __init__(self) -> None:
        self._missing = RACERS
        self._all_here = asyncio.Event()

    async def source(self, data: bytes) -> AsyncIterator[bytes]:
        self._missing -= 1
        if self._missing == 0:
            self._all_here.set()
        try:
            await asyncio.wait_for(self._all_here.wait(), MEETING_SECONDS)
        except TimeoutError:
            self._all_here.set()
        yield data


class _ThreadMeeting:
    """The same for threads."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(RACERS)

    def source(self, data: bytes) -> Iterator[bytes]:
        # Those that were held back find it broken, and go on at once.
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(MEETING_SECONDS)
        yield data


_Meeting = _TaskMeeting | _ThreadMeeting
