"""Memory of uploads into object stores: these want parts of some MiB, which are gathered before they are sent."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.types import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar_filestore.core.types import PartBuffers
    from litestar_filestore.http.arrivals import Arrivals

__all__ = ("PartBudget", "parts_reserved")


class _Turn(NamedTuple):
    wanted: int
    least: int
    granted: asyncio.Future[int]


class PartBudget:
    """Bytes of uploads that backends may hold, first come, first served.

    Whoever holds some waits for its client, but for nobody who waits here. Somebody always gets on: where nobody holds
    anything, the next one is let through, however much it wants.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self.free_bytes = total_bytes
        """What is left; below zero where the only one who holds anything needs more than there is."""
        self.holders = 0
        """How many hold some."""
        self._queue: deque[_Turn] = deque()

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._queue)

    async def take(self, wanted: int, *, least: int) -> int:
        """Wait until it is one's turn and `least` bytes are free, and take `wanted`, or `least` if others want some.

        Returns:
            How many were taken, one of the two; `give` has to be called with the number, once.
        """
        turn = _Turn(wanted, least, asyncio.get_running_loop().create_future())
        self._queue.append(turn)
        self._admit()
        try:
            return await turn.granted
        except asyncio.CancelledError:
            if not turn.granted.cancelled():
                self.give(turn.granted.result())
            else:
                self._admit()  # it may have been what the others waited behind
            raise

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self.holders -= 1
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            turn = self._queue[0]
            if not turn.granted.cancelled():
                if self.holders and turn.least > self.free_bytes:
                    return
                self._grant(turn)
            self._queue.popleft()

    def _grant(self, turn: _Turn) -> None:
        is_last = len(self._queue) == 1
        size = turn.wanted if is_last and turn.wanted <= self.free_bytes else turn.least
        self.free_bytes -= size
        self.holders += 1
        turn.granted.set_result(size)


@asynccontextmanager
async def parts_reserved(
    budget: PartBudget, buffers: PartBuffers | None, max_bytes: int, arrivals: Arrivals | None
) -> AsyncGenerator[int | None]:
    """Have the memory that a put needs, waiting for it if others have it, and give it back in the end.

    Args:
        budget: Shared by all uploads.
        buffers: What the driver holds; ``None`` if it holds nothing.
        max_bytes: Longest that the content may be.
        arrivals: The body that the content comes from, if it is on its way still: the block that it has in memory is
            covered as well, so that it need not wait for memory while it holds some.

    Yields:
        How many parts may be in flight; ``None`` leaves it to the driver.
    """
    if buffers is None:
        yield None
        return
    wanted = buffers.bytes_of(max_bytes) + BLOCK_BYTES
    least = buffers.bytes_of(max_bytes, max_concurrency=1) + BLOCK_BYTES
    taken = await budget.take(wanted, least=least)
    try:
        with nullcontext() if arrivals is None else arrivals.prepaid(budget):
            yield None if taken == wanted else 1
    finally:
        budget.give(taken)
