"""What object stores share: ranged reads, multipart writes and retries. It all runs in fsspec's loop."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from litestar_filestore.backends.fsspec.running import InLoop
from litestar_filestore.backends.fsspec.store import READ_BYTES, Reader, Store, Upload
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from litestar_filestore.backends.fsspec.running import Runner
    from litestar_filestore.core.types import Block, ObjectInfo

__all__ = (
    "SIGNING",
    "ObjectStore",
    "PartUpload",
    "RangeMissingError",
    "RangePart",
    "RangeReader",
    "with_patience",
)

T = TypeVar("T")

SIGNING = Capability.SIGN_GET | Capability.SIGN_PUT | Capability.SIGN_PARTS | Capability.SIGN_FORM
"""The abilities that are missing without credentials to sign with."""
_DELETES = 16
"""Concurrent delete requests. Requests for many keys exist, but compatible servers disagree about their details."""
_PAUSES_SECONDS = (0.3, 1.0)
_PARTS_OF_ONE_SIZE = 1000


async def with_patience(request: Callable[[], Awaitable[T]], is_temporary: Callable[[Exception], bool]) -> T:
    """Send a request up to three times, with short pauses, while its failures are temporary."""
    for pause in _PAUSES_SECONDS:
        try:
            return await request()
        except Exception as error:
            if not is_temporary(error):
                raise
        await asyncio.sleep(pause)
    return await request()


class ObjectStore(Store):
    """A store in which a put is atomic by itself. Its file system is asynchronous."""

    runner: ClassVar[type[Runner]] = InLoop
    capabilities: ClassVar[Capability] = (
        Capability.SIGN_GET
        | Capability.SIGN_PUT
        | Capability.PUT_IF_ABSENT
        | Capability.METADATA
        | Capability.NATIVE_ASYNC
    )

    @abstractmethod
    async def delete_one(self, path: str) -> None:
        """Delete an object; a missing one is fine."""

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete these objects, some at a time."""
        gate = asyncio.Semaphore(_DELETES)

        async def delete(path: str) -> None:
            async with gate:
                await self.delete_one(path)

        outcomes = await asyncio.gather(*(delete(path) for path in paths), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


class RangeMissingError(Exception):
    """The object ends before the requested range."""


class RangePart(NamedTuple):
    """The response to a range request."""

    data: bytes
    size: int
    """Length of the whole object in bytes."""
    version: Any
    """Pins this version of the object in the next request."""


class RangeReader(Reader):
    """Reads an object range by range, and requests the next range while the caller works on the last.

    So a consumer that is slow or gone holds no connection. All requests but the first are pinned to the version that
    the first one saw.
    """

    def __init__(self, start: int, end: int | None) -> None:
        """Read the bytes in [`start`, `end`)."""
        self._offset = start
        self._end = end
        self._seen: RangePart | None = None
        self._ahead: asyncio.Task[RangePart] | None = None

    @abstractmethod
    async def fetch(self, offset: int, length: int, version: Any) -> RangePart:
        """Request at most `length` bytes from `offset`, of the version that `version` pins if it is not ``None``.

        Raises:
            RangeMissingError: If the object ends at or before `offset`.
            ObjectChangedError: If `version` is given and no longer there.
        """

    async def next(self) -> bytes:
        """Return the bytes of the next request."""
        if self._end is not None and self._offset >= self._end:
            return b""
        part = await self._first() if self._ahead is None else await self._ahead
        if part is None:
            return b""
        self._check(part)
        self._seen = part._replace(data=b"")
        self._end = part.size if self._end is None else min(self._end, part.size)
        self._offset += len(part.data)
        self._look_ahead()
        return part.data

    async def close(self) -> None:
        """Cancel the request under way."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
            self._ahead = None

    async def _first(self) -> RangePart | None:
        try:
            part = await self.fetch(self._offset, self._length(), None)
        except RangeMissingError:
            if self._offset:
                raise RangeNotSatisfiableError(
                    "The range starts behind the end of the object: start before it"
                ) from None
            return None  # an empty object has no first byte to request
        if self._offset and self._offset >= part.size:
            raise RangeNotSatisfiableError(
                "The range starts behind the end of the object: start before it", size=part.size
            )
        return part

    def _length(self) -> int:
        return READ_BYTES if self._end is None else min(READ_BYTES, self._end - self._offset)

    def _check(self, part: RangePart) -> None:
        if self._seen is not None and part[1:] != self._seen[1:]:  # a server may ignore the condition
            raise ObjectChangedError("The object was replaced while it was read: read it again")
        stop = part.size if self._end is None else min(self._end, part.size)
        if len(part.data) != min(READ_BYTES, stop - self._offset):
            raise ObjectChangedError(
                "The store sent another number of bytes than it was asked for: read the object again"
            )

    def _look_ahead(self) -> None:
        self._ahead = None
        if self._seen is not None and self._end is not None and self._offset < self._end:
            request = self.fetch(self._offset, self._length(), self._seen.version)
            self._ahead = asyncio.get_running_loop().create_task(request)


class PartUpload(Upload):
    """Gathers blocks into parts and sends several at a time; content that fits in one part is sent in one request."""

    def __init__(self, part_bytes: int, max_concurrency: int) -> None:
        """Send parts of `part_bytes` bytes, `max_concurrency` of them at a time."""
        self.sent = 0
        """Bytes in the parts so far."""
        self.parts = 0
        """Number of parts so far."""
        self.buffer = bytearray()
        """Bytes that are not in a part yet."""
        self._part_bytes = part_bytes
        self._max_concurrency = max_concurrency
        self._pending: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def put_whole(self, content: bytes) -> ObjectInfo:
        """Store an object of one part in one request."""

    @abstractmethod
    async def begin(self) -> None:
        """Begin a multipart upload."""

    @abstractmethod
    async def send(self, number: int, offset: int, part: bytes) -> None:
        """Send part `number` (from 0), which begins at byte `offset` of the object."""

    @abstractmethod
    async def complete(self) -> ObjectInfo:
        """Publish the parts."""

    @abstractmethod
    async def discard(self) -> None:
        """Remove the parts. `begin` was called, but may have failed."""

    def part_size(self, number: int) -> int:
        """Return the size of part `number` (from 0) in bytes.

        Stores allow about ten thousand parts. If the length is unknown, the parts grow on the way, so that even the
        largest object of a store fits.
        """
        return self._part_bytes * (1 + number // _PARTS_OF_ONE_SIZE)

    async def write(self, block: Block) -> None:
        """Buffer the block, and send a part when the buffer holds more than one."""
        self.buffer += block
        while len(self.buffer) > (size := self.part_size(self.parts)):  # not >=: the last part is never empty
            with memoryview(self.buffer) as view:
                part = bytes(view[:size])
            del self.buffer[:size]
            await self._send_soon(part)

    async def commit(self) -> ObjectInfo:
        """Send the rest and publish the object."""
        if self.parts == 0:
            return await self.put_whole(bytes(self.buffer))
        await self._send_soon(bytes(self.buffer))
        await self.wait_for(0)
        return await self.complete()

    async def abort(self) -> None:
        """Wait for the parts under way, so that none arrives after the removal, and remove them all."""
        await asyncio.gather(*self._pending, return_exceptions=True)
        if self.parts:
            await self.discard()

    async def wait_for(self, pending: int) -> None:
        """Wait until at most `pending` parts are under way."""
        while len(self._pending) > pending:
            done, _ = await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
            self._pending -= done
            # Look at all of them, or asyncio would report the second failure as never retrieved.
            for error in [task.exception() for task in done]:
                if error is not None:
                    raise error

    async def _send_soon(self, part: bytes) -> None:
        number, offset = self.parts, self.sent
        self.parts += 1
        self.sent += len(part)
        if number == 0:
            await self.begin()
        await self.wait_for(self._max_concurrency - 1)
        self._pending.add(asyncio.get_running_loop().create_task(self.send(number, offset, part)))
