"""Memory of uploads into object stores: these want parts of some MiB, which are gathered before they are sent."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.http.budget import has_several

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar_filestore.core.types import PartBuffers
    from litestar_filestore.http.arrivals import Arrivals

__all__ = ("PartBudget", "parts_reserved")


class _Turn(NamedTuple):
    wanted: int
    least: int
    store: str | None
    granted: asyncio.Future[int]


class PartBudget:
    """Bytes of uploads that backends may hold, first come, first served.

    Whoever holds some waits for its client and its store, but for nobody who waits here. Somebody always gets on: where
    nobody holds anything for a store, the next one to it is let through, however much it wants. Where there are several
    stores, none holds more than half, so that one that does not answer leaves something to the others.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self._total_bytes = total_bytes
        self.free_bytes = total_bytes
        """What is left; below zero where the only ones who hold anything for a store need more than there is."""
        self._holders: Counter[str | None] = Counter()
        self._held: Counter[str | None] = Counter()
        self._queue: deque[_Turn] = deque()

    @property
    def holders(self) -> int:
        """How many hold some."""
        return self._holders.total()

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._queue)

    def is_wanted(self, store: str | None) -> bool:
        """Return whether somebody waits whom it would help if an upload to a store gave up what it has."""
        return any(turn.store == store or self._fits_share(turn) for turn in self._queue)

    async def take(self, wanted: int, *, least: int, store: str | None = None) -> int:
        """Wait until it is one's turn and `least` bytes are free, and take `wanted`, or `least` if others want some.

        Returns:
            How many were taken, one of the two; `give` has to be called with the number, once.
        """
        turn = _Turn(wanted, least, store, asyncio.get_running_loop().create_future())
        self._held[store] += 0  # from now on there is such a store
        self._queue.append(turn)
        self._admit()
        try:
            return await turn.granted
        except asyncio.CancelledError:
            if not turn.granted.cancelled():
                self.give(turn.granted.result(), store=store)
            else:
                self._admit()  # it may have been what the others waited behind
            raise

    def give(self, size: int, *, store: str | None = None) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self._held[store] -= size
        self._holders[store] -= 1
        self._admit()

    @property
    def _share(self) -> int:
        return self._total_bytes // 2 if has_several(self._held) else self._total_bytes

    def _fits_share(self, turn: _Turn) -> bool:
        return self._held[turn.store] + turn.least <= self._share

    def _admit(self) -> None:
        waiting: deque[_Turn] = deque()
        passed: set[str | None] = set()
        is_full = False
        while self._queue:
            turn = self._queue.popleft()
            if turn.granted.cancelled():
                continue
            if turn.store not in passed and (not self._holders[turn.store] or (not is_full and self._fits(turn))):
                self._grant(turn, is_last=not (waiting or self._queue))
                continue
            waiting.append(turn)
            passed.add(turn.store)  # nobody overtakes on the way to one store
            is_full = is_full or self._fits_share(turn)  # nor takes what is being saved up for another one
        self._queue = waiting

    def _fits(self, turn: _Turn) -> bool:
        return turn.least <= self.free_bytes and self._fits_share(turn)

    def _grant(self, turn: _Turn, *, is_last: bool) -> None:
        room = min(self.free_bytes, self._share - self._held[turn.store])
        size = turn.wanted if is_last and turn.wanted <= room else turn.least
        self.free_bytes -= size
        self._held[turn.store] += size
        self._holders[turn.store] += 1
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
    store = None if arrivals is None else arrivals.store
    taken = await budget.take(wanted, least=least, store=store)
    try:
        with nullcontext() if arrivals is None else arrivals.prepaid(budget):
            yield None if taken == wanted else 1
    finally:
        budget.give(taken, store=store)
