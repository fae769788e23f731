"""Tells consumers that keep up, for which it pays to read ahead, from those that let bytes wait in memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Pace",)

_PROMPT_SECONDS = 0.05
_TRIAL_BYTES = 4 * 1024 * 1024


class Pace:
    """Watches when a consumer comes back for more.

    Sockets take a few MiB at once before their owner has read any of it, so somebody counts as quick only after more
    than that went through without a pause. Five hundred that stand still hold one small block each.
    """

    __slots__ = ("_asked_at", "_clock", "_given_bytes", "has_paused")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing about the consumer yet.

        Args:
            clock: Returns seconds that only ever grow.
        """
        self._clock = clock
        self._asked_at = clock()
        self._given_bytes = 0
        self.has_paused = False
        """Whether the consumer has paused since it last was quick; `is_quick` finds out."""

    def is_quick(self) -> bool:
        """Return whether the consumer, who asks for more now, keeps up."""
        now = self._clock()
        if now - self._asked_at > _PROMPT_SECONDS:
            self._given_bytes = 0
            self.has_paused = True
        self._asked_at = now
        if self._given_bytes < _TRIAL_BYTES:
            return False
        self.has_paused = False
        return True

    def give(self, count: int) -> None:
        """Note that `count` bytes are handed over now, and the waiting begins."""
        self._given_bytes += count
        self._asked_at = self._clock()
