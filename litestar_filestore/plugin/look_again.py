"""Looking again and again for what was away when the application started."""

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
"""Between two looks at what is away."""


async def look_again(look: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
    """Call `look` at growing intervals until it has found everything.

    Args:
        look: Returns the longest pause before the next call, 0 if there is nothing more to look for.
        wake: Ends a pause early. It is never shorter than a second, however often somebody asks.
    """
    pause = longest = _SHORTEST_PAUSE_SECONDS
    while longest:
        await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), pause - _SHORTEST_PAUSE_SECONDS)
        wake.clear()
        longest = await look()
        pause = min(pause * 2, longest)
