"""Closing connections without waiting for a server that does not answer.

asyncpg (0.32) waits for the server's end of a connection without a limit, and SQLAlchemy (2.1) gives it none: with a
silent database ``engine.dispose()`` never returns, and the process that wants to end does not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ("close_in_time",)

_SILENT_SECONDS = 1.0
"""A goodbye that took longer was not answered. SQLAlchemy waits for two seconds, then it cuts the connection."""
_REMEMBERED_SECONDS = 30.0


def close_in_time(engine: Engine) -> None:
    """Have the connections of an engine's pool closed within seconds, all of them together; once for each pool."""
    pool: Any = engine.pool
    if engine.dialect.driver != "asyncpg" or any(isinstance(each, _Closing) for each in pool.dispatch.close):
        return
    event.listen(engine, "close", _Closing())


class _Closing:
    """Ends connections before the pool closes them, which has nothing to wait for then."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, connection: Any, record: Any) -> None:
        begin = time.monotonic()
        if begin < self._silent_until:
            record.driver_connection.terminate()  # the one before had no answer: this one says no goodbye
            return
        connection.terminate()  # says goodbye, for two seconds at the most
        end = time.monotonic()
        if end - begin > _SILENT_SECONDS:
            self._silent_until = end + _REMEMBERED_SECONDS
