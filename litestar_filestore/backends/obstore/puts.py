"""Puts content through obstore: in one request if it fits, else in parts, with bounded memory.

An interrupted multipart upload must be aborted, or its parts stay in the bucket, invisible and paid for. obstore aborts
it when the iterator that it reads from raises, but not when its future is cancelled. So this module never cancels the
future: it makes the iterator raise and waits until the upload ends.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar_filestore.core.threads import finish
from litestar_filestore.core.types import PartBuffers
from litestar_filestore.errors import FileTooLargeError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from obstore import PutResult

    from litestar_filestore.core.types import Block, PutOptions

__all__ = (
    "Counted",
    "PartPlan",
    "Pieces",
    "Relay",
    "gather",
    "gather_async",
    "part_buffers",
    "plan_parts",
    "upload_async",
)

PART_BYTES = 8 * 1024 * 1024
"""Size of a part, and the largest size that is put in one request."""
SMALLEST_PART_BYTES = 5 * 1024 * 1024
"""Smallest part, other than the last, that S3 accepts; it complains only at the very end of the upload."""
MAX_PARTS = 10_000
"""Most parts that S3 and Google accept for one object."""
MAX_CONCURRENCY = 4
"""Parts in flight. Each holds its bytes in memory."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Size and number of the parts of an upload."""

    part_bytes: int
    max_concurrency: int

    @property
    def max_bytes(self) -> int:
        """Largest object that these parts can make."""
        return self.part_bytes * MAX_PARTS


def plan_parts(options: PutOptions, part_bytes: int, max_concurrency: int) -> PartPlan:
    """Choose the size of the parts: the requested one, but never too small for the store or for the known size."""
    needed = -(-(options.size or 0) // MAX_PARTS)
    return PartPlan(
        part_bytes=max(options.part_bytes or part_bytes, SMALLEST_PART_BYTES, needed),
        max_concurrency=max(1, options.max_concurrency or max_concurrency),
    )


def part_buffers(part_bytes: int | None, max_concurrency: int) -> PartBuffers:
    """Return the memory that uploads use; without `part_bytes` content of any size is put in one request."""
    if part_bytes is None:
        return PartBuffers(part_bytes=sys.maxsize, max_concurrency=1)
    return PartBuffers(part_bytes=max(part_bytes, SMALLEST_PART_BYTES), max_concurrency=max_concurrency)


def kept(block: Block) -> Block:
    """Return a block that stays valid when its sender goes on: the block itself, or a copy if it is mutable."""
    if isinstance(block, bytes) or (isinstance(block, memoryview) and block.readonly):
        return block
    return bytes(block)


@dataclass(slots=True)
class Pieces:
    """The start of some content, and whether that is all of it."""

    blocks: list[Block]
    size: int = 0
    complete: bool = True

    def add(self, block: Block, limit: int | None) -> bool:
        """Take a block and return whether there is room for more."""
        self.blocks.append(kept(block))
        self.size += len(block)
        self.complete = limit is None or self.size <= limit
        return self.complete

    def drain(self) -> Iterator[Block]:
        """Yield the blocks and release them, because an upload lasts longer than they are needed."""
        self.blocks.reverse()
        while self.blocks:
            yield self.blocks.pop()


def gather(blocks: Iterator[Block], limit: int | None) -> Pieces:
    """Read until the end, or until there are more than `limit` bytes."""
    pieces = Pieces([])
    for block in blocks:
        if not pieces.add(block, limit):
            break
    return pieces


async def gather_async(blocks: AsyncIterator[Block], limit: int | None) -> Pieces:
    """`gather` for async blocks."""
    pieces = Pieces([])
    async for block in blocks:
        if not pieces.add(block, limit):
            break
    return pieces


class Counted:
    """Counts the blocks of a multipart upload, up to what its parts can hold."""

    def __init__(self, plan: PartPlan) -> None:
        """Start at zero."""
        self._plan = plan
        self.size = 0

    def take(self, block: Block) -> Block:
        """Count a block and return it in a form that stays valid.

        Raises:
            FileTooLargeError: If the store would refuse the part that it goes into.
        """
        self.size += len(block)
        if self.size > self._plan.max_bytes:
            raise FileTooLargeError(
                f"{MAX_PARTS} parts of {self._plan.part_bytes} bytes are full: give larger part_bytes",
                max_bytes=self._plan.max_bytes,
            )
        return kept(block)

    def all(self, pieces: Pieces, rest: Iterator[Block]) -> Iterator[Block]:
        """Yield the gathered blocks and then the rest."""
        for block in pieces.drain():
            yield self.take(block)
        for block in rest:
            yield self.take(block)


class _AbortedError(Exception):
    """Makes obstore abort an upload; this module never lets it out."""


class Relay:
    """The iterator that obstore reads, fed by the task that reads the source.

    obstore requests blocks from its own tasks. But a source must be read in the caller's task: it may depend on that
    task's context and cancel scope, and a cancelled caller must not wait for the next block of the source.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[Block | None] | None = None
        self._aborted = False

    def __aiter__(self) -> Relay:
        return self

    async def __anext__(self) -> Block:
        if self._aborted:
            raise _AbortedError
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        block = await self._answer
        if block is None:
            raise StopAsyncIteration
        return block

    def wake(self, _: object = None) -> None:
        """Wake `give`, because the upload has ended."""
        self._asked.set()

    async def give(self, block: Block | None, upload: asyncio.Future[PutResult]) -> None:
        """Hand over a block, or ``None`` for the end, as soon as obstore requests one.

        Raises:
            Exception: The error of the upload, if it failed instead of requesting a block.
        """
        await self._asked.wait()
        if upload.done():
            upload.result()
            raise StorageError("obstore ended the upload before it had read the whole source: store the file again")
        self._asked.clear()
        if self._answer is not None:
            self._answer.set_result(block)

    def abort(self, upload: asyncio.Future[PutResult]) -> None:
        """Make the pending or the next request for a block fail."""
        self._aborted = True
        if self._answer is None or self._answer.done():
            return
        if upload.done():
            self._answer.cancel()  # nobody is left to retrieve an exception
        else:
            self._answer.set_exception(_AbortedError())


async def upload_async(
    start: Callable[[Relay], Awaitable[PutResult]], pieces: Pieces, rest: AsyncIterator[Block], counted: Counted
) -> PutResult:
    """Run a multipart upload until it ends, whatever the outcome.

    Args:
        start: Starts the upload that reads the relay.
        pieces: Blocks that have already been read.
        rest: The blocks that follow.
        counted: Counts them.

    Raises:
        asyncio.CancelledError: If the caller was cancelled. By then the upload is aborted or, if it already had all
            blocks, completed.
    """
    relay = Relay()
    upload = asyncio.ensure_future(start(relay))
    del start  # holds the store, which should go when the backend is closed, not when garbage is collected
    upload.add_done_callback(relay.wake)
    try:
        for block in pieces.drain():
            await relay.give(counted.take(block), upload)
        async for block in rest:
            await relay.give(counted.take(block), upload)
        await relay.give(None, upload)
        return await finish(upload)
    except BaseException:
        relay.abort(upload)
        await finish(asyncio.wait({upload}))
        if not upload.cancelled():
            upload.exception()  # looked at, so that asyncio does not report it as never retrieved
        raise
    finally:
        del upload  # its exception refers to this frame by its traceback: a reference cycle
