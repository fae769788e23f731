"""Putting content through obstore: in one request where it fits, in parts of bounded memory where it does not.

An interrupted upload in parts must be told so, or its parts stay in the bucket, invisible and paid for. obstore tells
the store when the iterator that it reads from raises, and forgets to when its future is cancelled. So the future is
never cancelled: the iterator is made to raise, and the end of the upload is waited for.
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
"""Size of a part, and up to it the size of a put in one request."""
SMALLEST_PART_BYTES = 5 * 1024 * 1024
"""Smallest part, other than the last, that S3 accepts; it complains at the very end of the upload only."""
MAX_PARTS = 10_000
"""Parts that S3 and Google take for one object."""
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
    """Choose the size of the parts: as asked for, but never too small for the store or for the known size."""
    needed = -(-(options.size or 0) // MAX_PARTS)
    return PartPlan(
        part_bytes=max(options.part_bytes or part_bytes, SMALLEST_PART_BYTES, needed),
        max_concurrency=max(1, options.max_concurrency or max_concurrency),
    )


def part_buffers(part_bytes: int | None, max_concurrency: int) -> PartBuffers:
    """Return what uploads hold; without `part_bytes` they are put in one request, however long they are."""
    if part_bytes is None:
        return PartBuffers(part_bytes=sys.maxsize, max_concurrency=1)
    return PartBuffers(part_bytes=max(part_bytes, SMALLEST_PART_BYTES), max_concurrency=max_concurrency)


def kept(block: Block) -> Block:
    """Return the block in a form that stays as it is when its sender goes on: itself, or a copy if it can change."""
    if isinstance(block, bytes) or (isinstance(block, memoryview) and block.readonly):
        return block
    return bytes(block)


@dataclass(slots=True)
class Pieces:
    """The beginning of some content, and whether that is all of it."""

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
        """Yield the blocks and forget them: an upload lasts longer than they are needed."""
        self.blocks.reverse()
        while self.blocks:
            yield self.blocks.pop()


def gather(blocks: Iterator[Block], limit: int | None) -> Pieces:
    """Read until the end or until more than `limit` bytes are there."""
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
    """The blocks of an upload in parts, up to what the parts can hold."""

    def __init__(self, plan: PartPlan) -> None:
        """Start at zero."""
        self._plan = plan
        self.size = 0

    def take(self, block: Block) -> Block:
        """Count a block and return it, kept.

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
        """Yield what was gathered and then the rest."""
        for block in pieces.drain():
            yield self.take(block)
        for block in rest:
            yield self.take(block)


class _AbortedError(Exception):
    """Makes obstore abort an upload; never leaves this module."""


class Relay:
    """The iterator that obstore reads, fed by the task that reads the source.

    obstore asks for blocks from tasks of its own. A source must be read where the caller is: it may depend on that
    task's context and cancel scope, and a cancelled caller must not wait for the source's next block.
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
        """Let `give` look around: the upload has ended."""
        self._asked.set()

    async def give(self, block: Block | None, upload: asyncio.Future[PutResult]) -> None:
        """Hand over a block, or the end for ``None``, as soon as it is asked for.

        Raises:
            Exception: What the upload failed with, if it ended instead of asking.
        """
        await self._asked.wait()
        if upload.done():
            upload.result()
            raise StorageError("obstore ended the upload before it had read the whole source: store the file again")
        self._asked.clear()
        if self._answer is not None:
            self._answer.set_result(block)

    def abort(self, upload: asyncio.Future[PutResult]) -> None:
        """Let the next, or the waiting, request for a block fail."""
        self._aborted = True
        if self._answer is None or self._answer.done():
            return
        if upload.done():
            self._answer.cancel()  # nobody is left to look at an exception
        else:
            self._answer.set_exception(_AbortedError())


async def upload_async(
    start: Callable[[Relay], Awaitable[PutResult]], pieces: Pieces, rest: AsyncIterator[Block], counted: Counted
) -> PutResult:
    """Run an upload in parts to its end, whatever that is.

    Args:
        start: Starts the upload that reads the relay.
        pieces: Blocks that were read already.
        rest: Those that follow.
        counted: Counts them.

    Raises:
        asyncio.CancelledError: When the caller was cancelled; the upload is aborted by then, or, if it already had all
            blocks, completed.
    """
    relay = Relay()
    upload = asyncio.ensure_future(start(relay))
    del start  # holds the store, which should be gone when the backend is closed, and not when garbage is collected
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
        del upload  # its exception leads, by the traceback, back to this frame: a circle
