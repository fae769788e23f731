"""Connections that a test has opened and nobody closes: they are closed before the next test begins.

Drivers warn when such a connection is deleted, and warnings are errors. The garbage collector deletes it at a time of
its own choice, though, and a later test would fail for it. Collecting after every test would double the suite's time.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakSet

import aiosqlite
import asyncpg
import psycopg

__all__ = ("collect_dropped", "follow_connections", "open_connections")

_IS_OPEN: dict[type, Callable[[Any], bool]] = {
    aiosqlite.Connection: lambda connection: connection._connection is not None,  # noqa: SLF001  # nothing public tells
    asyncpg.Connection: lambda connection: not connection.is_closed(),
    psycopg.Connection: lambda connection: not connection.closed,
}
_connections: WeakSet[Any] = WeakSet()


def follow_connections() -> None:
    """Remember every connection that this process makes from now on."""
    for cls in _IS_OPEN:
        _follow(cls)


def _follow(cls: Any) -> None:
    original = cls.__init__

    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        _connections.add(self)
        original(self, *args, **kwargs)

    cls.__init__ = __init__


def open_connections() -> set[int]:
    """Return the identities of the connections that are open."""
    return {id(each) for each in list(_connections) if _is_open(each)}


def _is_open(connection: Any) -> bool:
    return next(is_open for cls, is_open in _IS_OPEN.items() if isinstance(connection, cls))(connection)


def collect_dropped(before: set[int]) -> None:
    """Collect garbage if a connection is open that was not open before; what is still in use stays open."""
    if open_connections() - before:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
