"""Reads one version of a local object by its descriptor, on the event loop if the bytes are already in memory."""

from __future__ import annotations

import asyncio
import ctypes
import os
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.driver import ObjectVersion
from litestar_filestore.core.pace import Pace
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import BLOCK_BYTES, ObjectInfo
from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType
    from typing import Self

    from litestar_filestore.backends.local.tree import Tree

__all__ = ("LocalReader", "info_of")

_SMALL_BLOCK_BYTES = 32 * 1024
"""Bytes read at once for a consumer of unknown pace, where the allowance is used up: a block stays in memory as long as
its consumer waits."""


class _Allowance:
    """Memory of this process for the larger blocks of consumers whose pace is not known yet."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = Lock()

    def take(self, count: int) -> bool:
        """Take `count` bytes if there are as many left."""
        with self._lock:
            has_room = count <= self._left
            self._left -= count if has_room else 0
        return has_room

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += count


_allowance = _Allowance(8 * BLOCK_BYTES)

_Block = ctypes.c_ubyte * BLOCK_BYTES


@cache
def _bytes_api() -> tuple[Any, Any]:
    new, address = ctypes.pythonapi.PyBytes_FromStringAndSize, ctypes.pythonapi.PyBytes_AsString
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object,)
    return new, address


def _read_nowait(descriptor: int, count: int, offset: int) -> bytes:
    """Return 1 to `count` bytes that are in memory, like `os.pread` with ``RWF_NOWAIT``, which it cannot be given.

    `os.preadv` fills buffers, and to copy them costs more than the reading itself. CPython's C API allows to fill a
    new ``bytes`` object before anybody else has seen it.

    Raises:
        BlockingIOError: If the first byte is not in memory.
        OSError: If this file system does not know which bytes are.
    """
    new, address = _bytes_api()
    block: bytes = new(None, count)
    read = os.preadv(descriptor, [memoryview(_Block.from_address(address(block)))[:count]], offset, os.RWF_NOWAIT)
    return block if read == count else block[:read]


def info_of(path: str, status: os.stat_result) -> ObjectInfo:
    """Return the info of an object."""
    return ObjectInfo(
        key=path,
        size=status.st_size,
        last_modified=status.st_mtime,
        etag=f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"',
    )


class LocalReader(ObjectVersion):
    """An open object. Objects are replaced as a whole, so the descriptor always shows the version that it opened."""

    def __init__(self, path: str, descriptor: int, status: os.stat_result) -> None:
        """Take ownership of `descriptor`."""
        self._path = path
        self._descriptor = descriptor
        self._status = status
        self._size = status.st_size
        self._first = 0, b""
        self._taken = 0
        self._nowait = hasattr(os, "RWF_NOWAIT")
        self._pace = Pace()

    @classmethod
    def open(cls, tree: Tree, path: str) -> Self:
        """Open an object.

        Raises:
            FileNotFoundError: If there is none.
        """
        return cls(path, *tree.open_file(path))

    @classmethod
    def open_at(cls, tree: Tree, path: str, start: int, end: int | None) -> Self:
        """Open an object and read its first block, so that a small object costs only one thread hop."""
        reader = cls.open(tree, path)
        try:
            reader.begin(tree, start, end)
        except BaseException:
            reader.close()
            raise
        return reader

    def begin(self, tree: Tree, start: int, end: int | None) -> None:
        """Read the first block of a range ahead, and let the tree learn from this object; blocks."""
        tree.watch_promptness(self._descriptor, self._status)
        stop = self._size if end is None else min(end, self._size)
        if start < stop:
            self._first = start, self.read(start, min(_SMALL_BLOCK_BYTES, stop - start))

    @classmethod
    def at_hand(cls, tree: Tree, path: str) -> Self | None:
        """Open an object on the event loop if that need not wait, else return ``None``."""
        opened = tree.open_at_hand(path)
        return None if opened is None else cls(path, *opened)

    @property
    def info(self) -> ObjectInfo:
        """What is known about the object."""
        return info_of(self._path, self._status)

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
        self._give_back()

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

    def read_at_hand(self, start: int, end: int) -> bytes:
        """Return all bytes of a range if they are in memory, else ``b""``."""
        count = end - start
        if self._first[0] == start and len(self._first[1]) == count:
            return self._first[1]
        if count > BLOCK_BYTES or not self._may_hold(count):
            return b""
        block = self._read_cached(start, count)
        return block if len(block) == count else b""

    async def blocks(self, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range: those in memory at once, the others from a worker thread."""
        offset, stop = self.bounds(start, end)
        while offset < stop:
            at, block = self._first
            self._first = 0, b""
            if not block or at != offset:
                block = await self._read_async(offset, stop)
            offset += len(block)
            yield block

    async def _read_async(self, offset: int, stop: int) -> bytes:
        self._give_back()
        is_large = self._pace.is_quick() or self._may_hold(BLOCK_BYTES)
        count = min(BLOCK_BYTES if is_large else _SMALL_BLOCK_BYTES, stop - offset)
        if block := self._read_cached(offset, count):
            await asyncio.sleep(0)  # whoever reads in a loop must not keep all others waiting
        else:
            block = await run_blocking(partial(self.read, offset, count))
        self._pace.give(len(block))
        return block

    def _read_cached(self, offset: int, count: int) -> bytes:
        if not self._nowait:
            return b""
        try:
            return _read_nowait(self._descriptor, count, offset)
        except BlockingIOError:
            return b""
        except OSError:  # EOPNOTSUPP: this file system does not support RWF_NOWAIT
            self._nowait = False
            return b""

    def _may_hold(self, count: int) -> bool:
        """Return whether a block of `count` bytes may wait in memory for a consumer whose pace is not known."""
        if count > _SMALL_BLOCK_BYTES and not self._taken and _allowance.take(count):
            self._taken = count
        return count <= max(_SMALL_BLOCK_BYTES, self._taken)

    def _give_back(self) -> None:
        taken, self._taken = self._taken, 0
        if taken:
            _allowance.give_back(taken)

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
