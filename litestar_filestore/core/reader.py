"""Stored objects as seekable files. A reader fetches only what is read and holds at most one block in memory."""

from __future__ import annotations

import io
from contextlib import aclosing
from typing import TYPE_CHECKING

from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import InvalidArgumentError, ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("AsyncObjectReader", "ObjectReader", "open_object")


def _seek_target(offset: int, whence: int, *, position: int, size: int) -> int:
    base = {io.SEEK_SET: 0, io.SEEK_CUR: position, io.SEEK_END: size}.get(whence)
    if base is None or base + offset < 0:
        raise InvalidArgumentError(
            f"Cannot seek to {offset} from whence {whence}: use 0, 1 or 2 for whence, and no position before the start"
        )
    return base + offset


def _became_shorter(backend: StorageBackend, key: str) -> ObjectChangedError:
    return ObjectChangedError(
        "The object became shorter while it was read: read it again",
        operation="get",
        backend=backend.key,
        key=key,
    )


class ObjectReader(io.RawIOBase):
    """A read-only, seekable view of one object; `open_object` wraps it in `io.BufferedReader` for small reads."""

    def __init__(self, backend: StorageBackend, key: str, size: int) -> None:
        """View `size` bytes of the object `key`."""
        super().__init__()
        self._backend = backend
        self._key = key
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the offset of the next byte, as files do; behind the end is allowed and reads nothing."""
        self._position = _seek_target(offset, whence, position=self._position, size=self._size)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` from the current offset and return the number of bytes read, 0 at the end."""
        target = memoryview(buffer).cast("B")
        end = min(self._position + len(target), self._size)
        if end <= self._position:
            return 0
        filled = 0
        try:
            for block in self._backend.get(self._key, self._position, end):
                target[filled : filled + len(block)] = block
                filled += len(block)
        except RangeNotSatisfiableError as error:
            raise _became_shorter(self._backend, self._key) from error
        if filled < end - self._position:
            # Callers would take a short read here for the end of the file.
            raise _became_shorter(self._backend, self._key)
        self._position += filled
        return filled


def open_object(backend: StorageBackend, key: str) -> io.BufferedReader:
    """Return a buffered, seekable file that reads an object, 1 MiB ahead.

    Raises:
        ObjectNotFoundError: If there is no such object.
    """
    return io.BufferedReader(ObjectReader(backend, key, backend.head(key).size), buffer_size=BLOCK_BYTES)


class AsyncObjectReader:
    """A read-only, seekable view of one object for async code; use it with ``async with``.

    Sequential reads share one request. After a seek, the next read opens a new one.
    """

    def __init__(self, backend: StorageBackend, key: str) -> None:
        """View the object `key`; nothing is opened yet."""
        self._backend = backend
        self._key = key
        self._size = -1
        self._position = 0
        self._blocks: AsyncGenerator[bytes, None] | None = None
        self._rest = b""

    async def __aenter__(self) -> Self:
        """Look the object up.

        Raises:
            ObjectNotFoundError: If there is no such object.
        """
        self._size = (await self._backend.head_async(self._key)).size
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the open request."""
        await self.aclose()

    @property
    def size(self) -> int:
        """Length of the object in bytes; -1 before ``async with``."""
        return self._size

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    async def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the offset of the next byte, as files do; behind the end is allowed and reads nothing."""
        target = _seek_target(offset, whence, position=self._position, size=self._size)
        if target != self._position:
            await self.aclose()
            self._position = target
        return target

    async def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, or everything up to the end for a negative size; ``b""`` at the end.

        Only at the end are fewer bytes returned than requested.
        """
        wanted = max(0, self._size - self._position)
        if size >= 0:
            wanted = min(wanted, size)
        pieces: list[bytes] = []
        while wanted > 0:
            piece = await self._next_piece(wanted)
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    async def _next_piece(self, limit: int) -> bytes:
        if not self._rest:
            if self._blocks is None:
                self._blocks = self._backend.get_async(self._key, self._position, self._size)
            try:
                self._rest = await anext(self._blocks, b"")
            except RangeNotSatisfiableError as error:
                raise _became_shorter(self._backend, self._key) from error
            if not self._rest:
                raise _became_shorter(self._backend, self._key)
        piece, self._rest = self._rest[:limit], self._rest[limit:]
        self._position += len(piece)
        return piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the rest of the object in blocks of at most 1 MiB."""
        while block := await self.read(BLOCK_BYTES):
            yield block

    async def aclose(self) -> None:
        """Free the open request; you can go on reading afterwards."""
        blocks, self._blocks, self._rest = self._blocks, None, b""
        if blocks is not None:
            async with aclosing(blocks):
                pass
