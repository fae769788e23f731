"""Reads one version of a local object by its descriptor, on the event loop if the bytes are already in memory."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from litestar_filestore.core.pace import Pace
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from litestar_filestore.backends.local.tree import Tree

__all__ = ("LocalReader",)

_LOOP_BLOCK_BYTES = 256 * 1024
"""Bytes read at once on the event loop: copying them from the page cache takes about 50 microseconds."""
_SMALL_BLOCK_BYTES = 32 * 1024
"""Bytes read at once for a consumer of unknown pace: the block stays in memory as long as the consumer waits."""


class LocalReader:
    """An open object. Objects are replaced as a whole, so the descriptor always shows the version that it opened."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Take ownership of `descriptor`."""
        self._descriptor = descriptor
        self._size = size
        self._nowait = hasattr(os, "RWF_NOWAIT")
        self._pace = Pace()

    @classmethod
    def open(cls, tree: Tree, path: str) -> Self:
        """Open an object.

        Raises:
            FileNotFoundError: If there is none.
        """
        descriptor, status = tree.open_file(path)
        return cls(descriptor, status.st_size)

    @classmethod
    def open_at(cls, tree: Tree, path: str, start: int, end: int | None) -> tuple[Self, bytes]:
        """Open an object and read its first block, so that a small object costs only one thread hop."""
        reader = cls.open(tree, path)
        try:
            offset, stop = reader.bounds(start, end)
            first = reader.read(offset, min(_SMALL_BLOCK_BYTES, stop - offset)) if offset < stop else b""
        except BaseException:
            reader.close()
            raise
        return reader, first

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def bounds(self, start: int, end: int | None) -> tuple[int, int]:
        """Clip a range to the object.

        Raises:
            RangeNotSatisfiableError: If it starts at or after the end.
        """
        if start and start >= self._size:
            raise RangeNotSatisfiableError(
                "The range starts behind the end of the object: start before it", size=self._size
            )
        return start, self._size if end is None else min(end, self._size)

    def read(self, offset: int, count: int) -> bytes:
        """Return 1 to `count` bytes from `offset` on; blocks.

        Raises:
            ObjectChangedError: If the file became shorter.
        """
        block = os.pread(self._descriptor, count, offset)
        if not block:
            raise ObjectChangedError("The file became shorter while it was read: read it again")
        return block

    async def read_async(self, offset: int, stop: int) -> bytes:
        """Return bytes from `offset` on, up to `stop`: directly if they are cached, else from a worker thread."""
        is_quick = self._pace.is_quick()
        count = min(_LOOP_BLOCK_BYTES if is_quick else _SMALL_BLOCK_BYTES, stop - offset)
        block = self._read_cached(offset, count) if self._nowait else b""
        if not block:
            count = min(BLOCK_BYTES if is_quick else _SMALL_BLOCK_BYTES, stop - offset)
            block = await run_blocking(partial(self.read, offset, count))
        self._pace.give(len(block))
        return block

    def _read_cached(self, offset: int, count: int) -> bytes:
        buffer = bytearray(count)
        try:
            read = os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return b""
        except OSError:  # EOPNOTSUPP: this file system does not support RWF_NOWAIT
            self._nowait = False
            return b""
        return bytes(buffer) if read == count else bytes(memoryview(buffer)[:read])

    def copy_to(self, target: int) -> None:
        """Copy the whole object to a descriptor.

        Raises:
            ObjectChangedError: If the file became shorter.
        """
        offset = 0
        while offset < self._size:
            try:
                copied = os.copy_file_range(self._descriptor, target, self._size - offset, offset, offset)
            except (OSError, AttributeError):  # across file systems on old kernels, or not on this system
                copied = self._copy_block(target, offset)
            if not copied:
                copied = self._copy_block(target, offset)
            offset += copied

    def _copy_block(self, target: int, offset: int) -> int:
        block = memoryview(self.read(offset, BLOCK_BYTES))
        written = 0
        while written < len(block):
            written += os.pwrite(target, block[written:], offset + written)
        return written
