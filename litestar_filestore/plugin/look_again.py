"""Keeps looking for stores and databases that were away when the application started."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = (
    "LONGEST_PAUSE_SECONDS",
    "look_again",
)

_SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""Pause between two checks of a store or database that is away."""


async def look_again(look: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
    """Call `look` at growing intervals until it has found everything.

    Args:
        look: Returns the longest pause before the next call, 0 if nothing is left to look for.
        wake: Ends a pause early. A pause is never shorter than a second, however often it is set.
    """
    pause = longest = _SHORTEST_PAUSE_SECONDS
    while longest:
        await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), pause - _SHORTEST_PAUSE_SECONDS)
        wake.clear()
        longest = await look()
        pause = min(pause * 2, longest)
