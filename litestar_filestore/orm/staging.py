"""The connection on which an upload says what it is going to write, apart from the transaction that will link it.

It comes from a pool of its own, made like the application's: a request that holds a connection and asks the same pool
for a second one can wait for itself.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

__all__ = ("can_stage_beside", "is_locked", "staging_engine")

_SQLITE_WAIT_MILLISECONDS = 200
_engines: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()


def staging_engine(engine: Engine) -> Engine | None:
    """Return the engine for short transactions beside those of `engine`.

    Returns:
        ``None`` where there is no second connection to be had: in-memory databases live in the one that they have.
    """
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        return None
    found = _engines.get(engine)
    if found is None:
        found = _engines[engine] = Engine(engine.pool.recreate(), engine.dialect, engine.url)
        if engine.dialect.name == "sqlite":
            event.listen(found.pool, "connect", _wait_shortly)
        event.listen(engine, "engine_disposed", _dispose)
    return found


def _dispose(engine: Engine) -> None:
    if (found := _engines.pop(engine, None)) is not None:
        found.dispose()


def _wait_shortly(connection: Any, _record: Any) -> None:
    # SQLite has one writer. Waiting long for another one would hold up a request that can do without (see custody).
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_WAIT_MILLISECONDS}")
    cursor.close()


def is_locked(error: OperationalError) -> bool:
    """Return whether SQLite says that another connection writes."""
    return "database is locked" in str(error.orig)


def can_stage_beside(connection: Connection) -> bool:
    """Return whether a second connection can write while `connection`'s transaction is open.

    Not on SQLite once that transaction has begun: it may hold the only write lock, and would wait for itself.
    """
    if connection.dialect.name != "sqlite":
        return True
    return not getattr(connection.connection.driver_connection, "in_transaction", True)
