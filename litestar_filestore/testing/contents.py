"""Contents and sources that the conformance tests put."""

from __future__ import annotations

import array
import asyncio
import io
import random
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from litestar_filestore.core.types import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from litestar_filestore.core.types import AsyncSource, Block, Source

__all__ = (
    "ASYNC_SOURCE_KINDS",
    "MIB",
    "SOURCE_KINDS",
    "AsyncFile",
    "content",
    "matching",
    "several_at_once",
    "source_of",
)

MIB = 1024 * 1024
IN_FLIGHT = 10
"""Objects that are made at a time, if there are many."""
_ODD_BYTES = 2 * BLOCK_BYTES + 12_346
"""Length of the usual content: more than two blocks, a multiple of nothing but 2."""


@lru_cache(maxsize=8)
def content(size: int = _ODD_BYTES, seed: int = 0) -> bytes:
    """Return `size` bytes without repetition, so that a wrong offset shows; equal for equal `seed`."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret, but the same in every run


def matching(seen: bytes, wanted: bytes) -> int:
    """Return how many bytes at the beginning are equal, to say where large contents differ."""
    shorter = min(len(seen), len(wanted))
    return next((at for at in range(shorter) if seen[at] != wanted[at]), shorter)


async def several_at_once(names: Sequence[str], action: Callable[[str], Awaitable[None]]) -> None:
    """Run `action` for each name, some at a time. A failure says for which name."""
    remaining = iter(names)

    async def run_some() -> None:
        for name in remaining:
            try:
                await action(name)
            except BaseException as error:
                error.add_note(f"name: {name!r}")
                raise

    await asyncio.gather(*(run_some() for _ in range(min(IN_FLIGHT, len(names)))))


class AsyncFile:
    """A file whose ``read`` is a coroutine, like the upload of a web framework."""

    def __init__(self, data: bytes) -> None:
        """Hold `data`."""
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, but fewer than requested, as sockets do."""
        return self._file.read(min(size, 100_000) if size >= 0 else size)


def _pieces(data: bytes, size: int) -> Iterator[Block]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _wide_view(data: bytes) -> memoryview:
    """View `data` as 16-bit numbers, so that the view's length is not its size in bytes."""
    numbers = array.array("H")
    numbers.frombytes(data[: len(data) // 2 * 2])
    return memoryview(numbers)


def _reused_buffer(data: bytes) -> Iterator[Block]:
    """Yield `data` in one buffer that is written again after each piece."""
    buffer = bytearray(70_001)
    for piece in _pieces(data, len(buffer)):
        buffer[: len(piece)] = piece
        yield buffer if len(piece) == len(buffer) else bytearray(piece)
        buffer[:] = b"\xff" * len(buffer)


def _reused_large_buffer(data: bytes) -> Iterator[Block]:
    """Do the same with a buffer larger than a block, of which views are yielded."""
    buffer = bytearray(BLOCK_BYTES + 77)
    for piece in _pieces(data, len(buffer)):
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
        buffer[:] = b"\xff" * len(buffer)


def _with_empty_pieces(data: bytes) -> Iterator[Block]:
    yield b""
    for piece in _pieces(data, 300_000):
        yield piece
        yield b""


def _file_name(data: bytes, directory: Path) -> Path:
    path = directory / "source"
    path.write_bytes(data)
    return path


def _positioned_file(data: bytes, directory: Path) -> io.BufferedReader:
    file = _file_name(b"already read" + data, directory).open("rb")
    file.seek(len(b"already read"))
    return file


def _positioned_bytes_io(data: bytes) -> io.BytesIO:
    file = io.BytesIO(b"already read" + data)
    file.seek(len(b"already read"))
    return file


async def _asynchronously(pieces: Iterator[Block]) -> AsyncGenerator[Block, None]:
    for piece in pieces:
        yield piece


_SOURCES: dict[str, Callable[[bytes, Path], Source]] = {
    "bytes": lambda data, _: data,
    "bytearray": lambda data, _: bytearray(data),
    "memoryview": lambda data, _: memoryview(data),
    "memoryview of 16-bit items": lambda data, _: _wide_view(data),
    "path": _file_name,
    "file from its position": _positioned_file,
    "BytesIO from its position": lambda data, _: _positioned_bytes_io(data),
    "generator": lambda data, _: _pieces(data, 65_536),
    "list": lambda data, _: list(_pieces(data, 300_000)),
    "tiny pieces": lambda data, _: _pieces(data, 997),
    "pieces larger than a block": lambda data, _: _pieces(data, 2 * BLOCK_BYTES),
    "empty pieces in between": lambda data, _: _with_empty_pieces(data),
    "one small buffer used again": lambda data, _: _reused_buffer(data),
    "one large buffer used again": lambda data, _: _reused_large_buffer(data),
}
_ASYNC_SOURCES: dict[str, Callable[[bytes, Path], AsyncSource]] = {
    "async generator": lambda data, _: _asynchronously(_pieces(data, 65_536)),
    "async file": lambda data, _: AsyncFile(data),
    "async tiny pieces": lambda data, _: _asynchronously(_pieces(data, 997)),
    "async pieces larger than a block": lambda data, _: _asynchronously(_pieces(data, 2 * BLOCK_BYTES)),
    "async, one large buffer used again": lambda data, _: _asynchronously(_reused_large_buffer(data)),
}

SOURCE_KINDS = tuple(_SOURCES)
"""Names of the kinds of sources that both halves take."""
ASYNC_SOURCE_KINDS = tuple(_ASYNC_SOURCES)
"""Names of those that only an async put takes."""


@contextmanager
def source_of(kind: str, data: bytes, directory: Path) -> Generator[AsyncSource, None, None]:
    """Make a source of one kind that holds `data`; files lie in `directory` and are closed again."""
    source = (_SOURCES | _ASYNC_SOURCES)[kind](data, directory)
    try:
        yield source
    finally:
        if isinstance(source, io.BufferedReader):
            source.close()
