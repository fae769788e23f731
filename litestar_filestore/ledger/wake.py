"""Tells sweepers of this process that a commit has left something to delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "on_doomed",
    "tell_doomed",
)

_listeners: list[Callable[[], None]] = []


def on_doomed(listener: Callable[[], None]) -> Callable[[], None]:
    """Call `listener` after each commit that doomed an object; it must return at once, and is called from any thread.

    Returns:
        What ends it; it may be called again.
    """
    _listeners.append(listener)

    def end() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return end


def tell_doomed() -> None:
    """Call all listeners."""
    for listener in tuple(_listeners):
        listener()
