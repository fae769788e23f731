"""A hook for the first file column of a process: from then on its sessions must be tracked.

The column type cannot import the layers above it. The root package, which is imported before any of its modules,
registers here what must start at that moment. So no `StoredObject` exists whose rows are not tracked. Nothing starts
earlier, so an import alone has no effect on sessions.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "at_first_column",
    "begin",
)

_waiting: list[Callable[[], None]] = []
_lock = RLock()


def at_first_column(start: Callable[[], None]) -> None:
    """Register `start` to be called once, before the first file column is made."""
    _waiting.append(start)


def begin() -> None:
    """Call everything that was registered for the first file column."""
    if not _waiting:
        return
    with _lock:
        while _waiting:
            _waiting[0]()
            del _waiting[0]
