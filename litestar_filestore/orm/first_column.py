"""The moment at which a process makes its first file column: from then on its sessions have to be followed.

The column type knows nobody above it. The root package, which is imported before any module below it, says here what
starts at that moment, so that there is no way to a `StoredObject` whose rows nobody follows; and as nothing starts
earlier, an import has no effect on sessions.
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
    """Have `start` called once, before the first file column is made."""
    _waiting.append(start)


def begin() -> None:
    """Start what waits for a file column."""
    if not _waiting:
        return
    with _lock:
        while _waiting:
            _waiting[0]()
            del _waiting[0]
