"""Stored objects as files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies

from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.reader import AsyncObjectReader, open_object
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import InvalidArgumentError, ObjectChangedError, ObjectNotFoundError
from litestar_filestore.testing import FaultyBackend
from litestar_filestore.testing.contents import content

DATA = content(3 * BLOCK_BYTES + 17)


@pytest.fixture
def backend() -> FaultyBackend:
    """Make a backend with one object that records what it is asked."""
    memory = MemoryBackend("documents")
    memory.put(DATA, key="a")
    return FaultyBackend(memory)


def requests(backend: FaultyBackend) -> list[tuple[object, ...]]:
    """List the ranges that were read."""
    return [call.details for call in backend.faulty.calls if call.operation == "get"]


def test_whole_file(backend: FaultyBackend) -> None:
    """Read without a size gives everything, and ``b""`` after that."""
    with open_object(backend, "a") as file:
        assert file.read() == DATA
        assert file.read() == b""


async def test_whole_async_file(backend: FaultyBackend) -> None:
    """The same for the async half, with its size known."""
    async with AsyncObjectReader(backend, "a") as file:
        assert file.size == len(DATA)
        assert await file.read() == DATA
        assert await file.read() == b""


Step = tuple[str, int]
STEPS = strategies.lists(
    strategies.tuples(strategies.sampled_from(["read", "set", "end"]), strategies.integers(0, len(DATA) + 10)),
    max_size=8,
)


def expected_of(steps: list[Step]) -> list[tuple[bytes, int]]:
    """Do the steps on a real file."""
    file, seen = io.BytesIO(DATA), []
    for action, number in steps:
        if action == "read":
            data = file.read(number)
        else:
            data = b""
            file.seek(number if action == "set" else -min(number, len(DATA)), 0 if action == "set" else 2)
        seen.append((data, file.tell()))
    return seen


@given(STEPS)
def test_reads_and_seeks_like_a_file(steps: list[Step]) -> None:
    """Any row of reads and seeks gives what a file on the disk gives."""
    memory = MemoryBackend("documents")
    memory.put(DATA, key="a")
    seen = []
    with open_object(memory, "a") as file:
        for action, number in steps:
            data = file.read(number) if action == "read" else b""
            if action != "read":
                file.seek(number if action == "set" else -min(number, len(DATA)), 0 if action == "set" else 2)
            seen.append((data, file.tell()))
    assert seen == expected_of(steps)


@pytest.mark.parametrize(
    "steps",
    [
        [("read", 10), ("read", 10)],
        [("set", 5), ("read", 10), ("set", 5), ("read", 10)],
        [("end", 7), ("read", 100), ("read", 1)],
        [("set", len(DATA) + 5), ("read", 3), ("set", 0), ("read", 3)],
        [("read", BLOCK_BYTES - 1), ("read", 2), ("read", 2 * BLOCK_BYTES)],
        [("read", 0), ("read", 1)],
    ],
)
async def test_async_file_reads_and_seeks_like_a_file(backend: FaultyBackend, steps: list[Step]) -> None:
    """The async half does the same."""
    seen = []
    async with AsyncObjectReader(backend, "a") as file:
        for action, number in steps:
            data = await file.read(number) if action == "read" else b""
            if action != "read":
                await file.seek(number if action == "set" else -min(number, len(DATA)), 0 if action == "set" else 2)
            seen.append((data, file.tell()))
    assert seen == expected_of(steps)


def test_seek_from_the_position(backend: FaultyBackend) -> None:
    """A seek may be relative."""
    with open_object(backend, "a") as file:
        file.read(10)
        assert file.seek(5, io.SEEK_CUR) == 15
        assert file.read(1) == DATA[15:16]


@pytest.mark.parametrize(("offset", "whence"), [(-1, io.SEEK_SET), (-len(DATA) - 1, io.SEEK_END), (0, 9)])
async def test_impossible_seek_is_refused(backend: FaultyBackend, offset: int, whence: int) -> None:
    """A place before the beginning is an error, and a ``ValueError`` as for files."""
    async with AsyncObjectReader(backend, "a") as file:
        with pytest.raises(InvalidArgumentError):
            await file.seek(offset, whence)
    with open_object(backend, "a") as sync_file, pytest.raises(ValueError):  # noqa: PT011 - the point is the built-in class
        sync_file.seek(offset, whence)


def test_only_what_is_needed_is_read(backend: FaultyBackend) -> None:
    """A read far inside a large object fetches a block there, not what lies before."""
    with open_object(backend, "a") as file:
        file.seek(2 * BLOCK_BYTES)
        file.read(10)
    assert requests(backend) == [(2 * BLOCK_BYTES, 3 * BLOCK_BYTES)]


async def test_sequential_async_reads_share_a_request(backend: FaultyBackend) -> None:
    """Reading on needs no new request; only a seek does."""
    async with AsyncObjectReader(backend, "a") as file:
        for _ in range(5):
            await file.read(100_000)
        await file.seek(0)
        await file.read(1)
    assert requests(backend) == [(0, len(DATA)), (0, len(DATA))]


async def test_async_file_is_iterated_in_blocks(backend: FaultyBackend) -> None:
    """Iterating yields the rest in bounded blocks."""
    async with AsyncObjectReader(backend, "a") as file:
        await file.seek(10)
        blocks = [block async for block in file]
    assert b"".join(blocks) == DATA[10:]
    assert max(map(len, blocks)) <= BLOCK_BYTES


async def test_missing_object(backend: FaultyBackend) -> None:
    """A missing object is told when the file is opened."""
    with pytest.raises(ObjectNotFoundError):
        open_object(backend, "missing")
    with pytest.raises(ObjectNotFoundError):
        async with AsyncObjectReader(backend, "missing"):
            pass


@pytest.mark.parametrize("size", [0, 3, BLOCK_BYTES + 5])
def test_object_that_became_shorter(backend: FaultyBackend, size: int) -> None:
    """A file whose object was cut meanwhile fails; it does not just end."""
    with open_object(backend, "a") as file:
        backend.put(content(size), key="a", overwrite=True)
        with pytest.raises(ObjectChangedError):
            file.read()


@pytest.mark.parametrize("size", [0, 3, BLOCK_BYTES + 5])
async def test_async_object_that_became_shorter(backend: FaultyBackend, size: int) -> None:
    """The same for the async half."""
    async with AsyncObjectReader(backend, "a") as file:
        backend.put(content(size), key="a", overwrite=True)
        with pytest.raises(ObjectChangedError):
            await file.read()


def test_files_are_read_only(backend: FaultyBackend) -> None:
    """The file says what it can do."""
    with open_object(backend, "a") as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)


def archive() -> bytes:
    """Make a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        writer.writestr("inner.json", json.dumps({"a": 1}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "use"),
    [
        (archive(), lambda file: json.loads(zipfile.ZipFile(file).read("inner.json"))),
        (b'{"a": 1}', json.load),
        ("{\n\u00fc}\n".encode(), lambda file: {"a": len(io.TextIOWrapper(file, "utf-8").readlines()) - 1}),
    ],
    ids=["zipfile", "json", "text"],
)
def test_libraries_can_read_it(data: bytes, use: Callable[[Any], Any]) -> None:
    """Libraries that want a binary file, a seekable one where they need it, take it."""
    backend = MemoryBackend("documents")
    backend.put(data, key="a")
    with open_object(backend, "a") as file:
        assert use(file) == {"a": 1}
