"""Tells quick consumers, for which reading ahead pays, from slow ones, for which bytes would wait in memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Pace",)

_PROMPT_SECONDS = 0.05
_TRIAL_BYTES = 4 * 1024 * 1024


class Pace:
    """Measures how promptly a consumer asks for more.

    A socket buffers a few MiB before its owner has read any of them. A consumer therefore counts as quick only after it
    has taken more than that without a pause. Five hundred stalled consumers hold one small block each.
    """

    __slots__ = ("_asked_at", "_clock", "_given_bytes", "has_paused")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without knowing anything about the consumer.

        Args:
            clock: Returns monotonic time in seconds.
        """
        self._clock = clock
        self._asked_at = clock()
        self._given_bytes = 0
        self.has_paused = False
        """Whether the consumer has paused since it was last quick; `is_quick` updates this."""

    def is_quick(self) -> bool:
        """Return whether the consumer keeps up; call this when it asks for more."""
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
        """Record that the consumer receives `count` bytes now, and start to measure its pause."""
        self._given_bytes += count
        self._asked_at = self._clock()
