"""What all uploads of a process share: how many there are, and how many bytes of theirs are in memory."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ("ByteBudget", "UploadSlots")


class UploadSlots:
    """Counts the uploads that are being read."""

    def __init__(self, limit: int) -> None:
        """Allow `limit` of them at a time."""
        self._limit = limit
        self.taken = 0
        """How many there are."""

    def enter(self) -> bool:
        """Take a slot and return whether there was one; `leave` gives it back."""
        if self.taken >= self._limit:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give a slot back."""
        self.taken -= 1


class ByteBudget:
    """Bytes that may be in memory between clients and backends.

    Whoever holds some gives them back when the backend has taken them, and waits for no client and for nothing of the
    budget meanwhile: so waiting for it ends.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self.free_bytes = total_bytes
        """What is left; below zero where a server handed over more than was asked for."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, wanted: int, *, least: int) -> int:
        """Wait until `least` bytes are free, and take them and more, up to `wanted`.

        Returns:
            How many were taken; `give` has to be called with the number.
        """
        while self.free_bytes < least:
            await self._wait()
        taken = min(wanted, self.free_bytes)
        self.free_bytes -= taken
        self._wake_next(least)
        return taken

    def take_more(self, size: int) -> None:
        """Take `size` bytes that are in memory already, whether they are free or not."""
        self.free_bytes -= size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self._wake_next(1)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.remove(turn)
            if not turn.cancelled():
                self._wake_next(1)  # it was this one's turn, and nobody else has been told
            raise
        self._waiting.remove(turn)

    def _wake_next(self, least: int) -> None:
        if self.free_bytes >= least and (turn := next((each for each in self._waiting if not each.done()), None)):
            turn.set_result(None)
