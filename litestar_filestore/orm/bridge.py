"""Storage calls from session events: sync in a `Session`, awaited through the greenlet in an `AsyncSession`."""

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
    """Run the async half in the caller's task if the session is an `AsyncSession`, else the sync half.

    A plain `Session` on an event loop's thread also gets the sync half. It blocks the loop, as its SQL does.
    """
    return await_only(async_()) if in_greenlet() else sync()
