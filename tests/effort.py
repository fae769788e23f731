"""How much work something is for the processor, in a unit that a slow or busy machine does not change.

Seconds tell how fast a machine is and what else it does. A yardstick of plain Python, timed before and after on the
same thread, is slowed down by the same things; work that grows with the square of its input exceeds it by far.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3
"""Garbage may be collected, or the processor taken away, in one of them."""


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def _yardstick() -> int:
    return sum(n & 7 for n in range(20_000))


def effort(work: Callable[[], object]) -> float:
    """Return how many times the processor time of 20,000 steps of plain Python (some 1 ms) the work takes."""
    found = []
    for _ in range(TRIES):
        before = _seconds(_yardstick)
        spent = _seconds(work)
        found.append(spent / max(before, _seconds(_yardstick)))
    return min(found)
