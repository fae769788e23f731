"""Storage calls from session events: sync under a `Session`, in its greenlet under an `AsyncSession`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

__all__ = ("call",)

T = TypeVar("T")


def call(sync: Callable[[], T], async_: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the async half in the caller's task where the session is an `AsyncSession`, else the sync half.

    A plain `Session` used on an event loop's thread gets the sync half as well and blocks the loop, as it does with its
    SQL.
    """
    return await_only(async_()) if in_greenlet() else sync()
