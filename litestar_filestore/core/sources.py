"""Content on its way into a store: reads any kind of source in blocks, counts them and hashes them.

A block holds 1 to `BLOCK_BYTES` bytes: small pieces are gathered, large ones are cut. Each block is valid until the
next one is requested.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import BLOCK_BYTES, Block
from litestar_filestore.errors import ConfigurationError, FileTooLargeError, SourceTypeError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar_filestore.core.types import AsyncReadable, AsyncSource, Source

__all__ = (
    "AsyncFeed",
    "Feed",
    "HeldBlocks",
    "LiveSource",
    "Meter",
    "check_digest",
    "check_source",
    "iter_blocks",
    "iter_blocks_async",
    "source_size",
)

_ALGORITHMS = ("sha256", "sha512", "sha1", "md5", "blake2b")


def check_digest(algorithm: str | None) -> str | None:
    """Return `algorithm` if `Meter` can compute it.

    Raises:
        ConfigurationError: If it is not ``sha256``, ``sha512``, ``sha1``, ``md5``, ``blake2b`` or ``None``.
    """
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise ConfigurationError(f"The digest {algorithm!r} is not one of {', '.join(_ALGORITHMS)} or None")
    return algorithm


class Meter:
    """Counts bytes, computes their digest and enforces a limit. It does no I/O: feed it the blocks in order."""

    __slots__ = ("_algorithm", "_hash", "max_bytes", "size")

    def __init__(self, *, digest: str | None = "sha256", max_bytes: int | None = None) -> None:
        """Start at zero.

        Args:
            digest: An algorithm that `check_digest` accepts; ``None`` computes no digest.
            max_bytes: Largest size allowed, in bytes (inclusive); ``None`` for no limit.
        """
        self._algorithm = digest
        # The digest only tells contents apart and protects nothing, so md5 and sha1 may work on FIPS builds, too.
        self._hash = None if digest is None else hashlib.new(digest, usedforsecurity=False)
        self.max_bytes = max_bytes
        self.size = 0
        """Bytes seen so far."""

    def update(self, block: Block) -> None:
        """Take one block.

        Raises:
            FileTooLargeError: If the content is now longer than `max_bytes`; the block is not hashed.
        """
        self.count(block)
        self.hash(block)

    def count(self, block: Block) -> None:
        """Take one block, which is hashed later; raises the same as `update`."""
        self.size += len(block)
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise FileTooLargeError(
                f"The file is larger than {self.max_bytes} bytes: store a smaller one, or raise max_bytes",
                max_bytes=self.max_bytes,
            )

    def hash(self, *blocks: Block) -> None:
        """Hash blocks that were counted, in their order."""
        if self._hash is not None:
            for block in blocks:
                self._hash.update(block)

    @property
    def hashes(self) -> bool:
        """Whether there is a digest."""
        return self._hash is not None

    @property
    def checksum(self) -> str | None:
        """Digest of the bytes seen so far, as ``algorithm:hex``; ``None`` without a digest."""
        return None if self._hash is None else f"{self._algorithm}:{self._hash.hexdigest()}"

    @property
    def etag(self) -> str | None:
        """Strong entity tag made from the digest (RFC 9110 §8.8.3), with its quotes; ``None`` without a digest."""
        return None if self._hash is None else f'"{self._hash.hexdigest()[:32]}"'


class LiveSource(AsyncIterator[Block]):
    """A source that yields what has arrived from a sender, in blocks whose size it chooses itself.

    Its blocks are passed on at once: long ones are cut, but short ones are never gathered, so that many slow senders do
    not hold a mebibyte each.
    """

    has_ended: bool = True
    """Whether the reader has been told that the source has ended, as far as the source knows. Until then no driver has
    stored an object, because a put is atomic."""

    @property
    def ends_here(self) -> bool:
        """Whether it is known that the last block was the last one; then `__anext__` does not wait."""
        return False

    @abstractmethod
    async def __anext__(self) -> Block:
        """Return the next block; it is never empty."""


def check_source(source: object) -> None:
    """Refuse text, which is easily passed by mistake.

    Raises:
        SourceTypeError: For a ``str``. obstore, for one, would upload the local file of that name, and the text may
            come from a client.
    """
    if isinstance(source, str):
        raise SourceTypeError("A str is not a source: encode it to bytes, or wrap the name of a file in pathlib.Path")


def source_size(source: object) -> int | None:
    """Return the size of a source in bytes, or ``None`` if it must be read to find out."""
    if isinstance(source, (bytes, bytearray)):
        return len(source)
    if isinstance(source, memoryview):
        return source.nbytes
    if isinstance(source, os.PathLike):
        return Path(cast("os.PathLike[str]", source)).stat().st_size
    return None


def iter_blocks(source: Source) -> Iterator[Block]:
    """Yield the blocks of `source`; see the module docstring for their size.

    Raises:
        SourceTypeError: If `source` cannot be read, or only asynchronously.
    """
    check_source(source)
    if (buffer := _as_buffer(source)) is not None:
        yield from _slices(buffer)
    elif isinstance(source, os.PathLike):
        with Path(source).open("rb", buffering=0) as file:
            yield from _gather(iter(lambda: file.read(BLOCK_BYTES), b""))
    elif _is_async(source):
        raise SourceTypeError(f"A {type(source).__name__} can only be read asynchronously: use the _async method")
    elif callable(read := getattr(source, "read", None)):
        yield from _gather(_read_pieces(read))
    elif isinstance(cast("object", source), Iterable):
        yield from _gather(cast("Iterable[Block]", source))
    else:
        raise _not_a_source(source)


async def iter_blocks_async(source: AsyncSource) -> AsyncIterator[Block]:
    """Yield the blocks of `source`. Files and sync iterables may block, so a worker thread reads them.

    Raises:
        SourceTypeError: If `source` cannot be read.
    """
    check_source(source)
    block: Block | None
    if (buffer := _as_buffer(source)) is not None:
        for block in _slices(buffer):
            yield block
    elif _reads_async(source):
        async for block in _gather_async(_read_pieces_async(cast("AsyncReadable", source))):
            yield block
    elif isinstance(source, AsyncIterable):
        async for block in _gather_async(source):
            yield block
    elif isinstance(source, io.BytesIO):
        for block in iter_blocks(source):
            yield block
    else:
        blocks = iter_blocks(cast("Source", source))
        while (block := await run_blocking(partial(next, blocks, None))) is not None:
            yield block


class Feed:
    """The iterator that a driver's put consumes: it meters the blocks and remembers what the source raised."""

    def __init__(self, source: Source, meter: Meter) -> None:
        self._blocks = iter_blocks(source)
        self._meter = meter
        self.failure: Exception | None = None
        """The error of the source or the meter. Drivers may wrap or hide it; this is the original."""
        self.exhausted = False
        """Whether the driver has read to the end."""

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        if self.failure is not None:
            raise self.failure  # a driver that retries must not mistake a broken source for a complete one
        try:
            block = next(self._blocks, None)
            if block is not None:
                self._meter.update(block)
        except Exception as error:
            self.failure = error
            raise
        if block is None:
            self.exhausted = True
            raise StopIteration
        return block


class HeldBlocks:
    """An async source whose blocks are in memory already, so that a driver may take all of them at once."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks

    async def __aiter__(self) -> AsyncIterator[Block]:
        for block in self.blocks:
            yield block


class AsyncFeed:
    """`Feed` for the async half of a driver."""

    def __init__(self, source: AsyncSource, meter: Meter) -> None:
        self._held = source.blocks if isinstance(source, HeldBlocks) else None
        self._blocks = iter_blocks_async(source)
        self._meter = meter
        self.failure: Exception | None = None
        """The error of the source or the meter. Drivers may wrap or hide it; this is the original."""
        self.exhausted = False
        """Whether the driver has read to the end."""
        self._interrupted = False

    def __aiter__(self) -> AsyncIterator[Block]:
        return self

    async def __anext__(self) -> Block:
        if self.failure is not None:
            raise self.failure
        if self._interrupted:
            raise StorageError("Reading the source was cancelled before, and the rest of it is lost: give a new source")
        try:
            block = await anext(self._blocks, None)
            if block is not None:
                self._meter.update(block)
        except Exception as error:
            self.failure = error
            raise
        except BaseException:
            # A cancelled generator is finished: asked again, it would stop as if it had been read to the end.
            self._interrupted = True
            raise
        if block is None:
            self.exhausted = True
            raise StopAsyncIteration
        return block

    def take_all(self) -> Sequence[Block] | None:
        """Return all blocks at once, instead of iterating, if they are in memory already; otherwise ``None``."""
        if self._held is None:
            return None
        try:
            for block in self._held:
                self._meter.update(block)
        except Exception as error:
            self.failure = error
            raise
        self.exhausted = True
        return self._held


def _as_buffer(source: object) -> memoryview | None:
    if isinstance(source, (bytes, bytearray, memoryview)):
        try:
            return memoryview(cast("Block", source)).cast("B")
        except TypeError as error:
            raise SourceTypeError("A memoryview must be contiguous to be stored: pass bytes(view) instead") from error
    return None


def _is_async(source: object) -> bool:
    """Return whether a source can only be read asynchronously; an `ObjectCopy` can be read both ways."""
    return _reads_async(source) or (isinstance(source, AsyncIterable) and not isinstance(source, Iterable))


def _reads_async(source: object) -> bool:
    # The `read` of a live source is meant for users: it takes everything into memory.
    return not isinstance(source, LiveSource) and inspect.iscoroutinefunction(getattr(source, "read", None))


def _not_a_source(source: object) -> SourceTypeError:
    return SourceTypeError(
        f"Bytes cannot be read from a {type(source).__name__}: "
        "give bytes, a pathlib.Path, a binary file or an iterable of bytes"
    )


def _checked(piece: object) -> memoryview:
    buffer = _as_buffer(piece)
    if buffer is None:
        raise SourceTypeError(f"A source must yield bytes, not {type(piece).__name__}; open files in binary mode")
    return buffer


def _read_pieces(read: Callable[[int], Any]) -> Iterator[Block]:
    while piece := _checked(read(BLOCK_BYTES)):
        yield piece


async def _read_pieces_async(source: AsyncReadable) -> AsyncIterator[Block]:
    while piece := _checked(await source.read(BLOCK_BYTES)):
        yield piece


def _slices(buffer: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(buffer), BLOCK_BYTES):
        yield buffer[start : start + BLOCK_BYTES]


class _Gatherer:
    """Collects small pieces into blocks, for the sync and the async loop."""

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self._size = 0

    def add(self, piece: object) -> Iterator[Block]:
        buffer = _checked(piece)
        if self._size + len(buffer) > BLOCK_BYTES:
            yield from self.rest()
        if len(buffer) >= BLOCK_BYTES:
            yield from _slices(buffer)
        elif buffer:
            # A sender may reuse its buffer once it runs again, so keep a copy unless the buffer is immutable.
            self._pieces.append(buffer if buffer.readonly else memoryview(bytes(buffer)))
            self._size += len(buffer)

    def rest(self) -> Iterator[Block]:
        if self._pieces:
            block = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces, self._size = [], 0
            yield block


def _gather(pieces: Iterable[Block]) -> Iterator[Block]:
    gatherer = _Gatherer()
    for piece in pieces:
        yield from gatherer.add(piece)
    yield from gatherer.rest()


async def _gather_async(pieces: AsyncIterable[Block]) -> AsyncIterator[Block]:
    if isinstance(pieces, LiveSource):
        async for arrived in pieces:
            for part in _slices(_checked(arrived)):
                yield part
        return
    gatherer = _Gatherer()
    async for piece in pieces:
        for block in gatherer.add(piece):
            yield block
    for block in gatherer.rest():
        yield block
