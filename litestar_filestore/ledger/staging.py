"""The connection on which an upload is staged, separate from the transaction that will link it.

It comes from a separate pool, created like the application's: a request that holds a connection and asks the same pool
for a second one could wait for itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import SingletonThreadPool, StaticPool
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from litestar_filestore.core.threads import finish
from litestar_filestore.ledger.conversations import close_in_time, heard, hold_conversations, limited
from litestar_filestore.ledger.line import Line
from litestar_filestore.ledger.outages import is_to_be_repeated
from litestar_filestore.ledger.table import MYSQL
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sqlalchemy.engine import Dialect

__all__ = (
    "Reserver",
    "can_stage_beside",
    "give_back_at_end",
    "in_time",
    "line_of",
    "owner_of_pool",
    "patiently",
    "run_beside",
    "schema_map",
    "schema_map_in",
    "staging_engine",
    "sync_engine",
    "transact",
    "without_gap_locks",
)

T = TypeVar("T")

_SQLITE_WAIT_MILLISECONDS = 200
_GIVE_BACK_SECONDS = 1.0
"""How long the end of an application waits for the answer of a database; connecting has a limit of its own."""
_PATIENCE_SECONDS = 5.0
"""How long a transaction is begun again in all: as long as sqlite3 itself waits for SQLite's write lock."""


def sync_engine(database: Engine | AsyncEngine) -> Engine:
    """Return the sync engine that reaches a database, even if it is wrapped for asyncio."""
    return database.sync_engine if isinstance(database, AsyncEngine) else database


class Reserver(Protocol):
    """What writes entries ahead."""

    def give_back(self, beside: Engine | None) -> None:
        """Use them no more, and remove them with the engine for short transactions; ``None`` leaves them there."""
        ...


class _Beside:
    """An engine that this module has created."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.line = Line(engine)
        self.reservers: WeakSet[Reserver] = WeakSet()
        """What has entries to give back before the engine is disposed of."""
        self._pid = os.getpid()

    def give_back(self) -> None:
        """Remove the entries that nothing uses. If the database cannot be asked, their leases run out."""
        beside = self.engine if in_greenlet() or not self.engine.dialect.is_async else None
        for reserver in self.reservers:
            with suppress(SQLAlchemyError, OSError), limited(_GIVE_BACK_SECONDS):
                reserver.give_back(beside)

    def leave_to_parent(self) -> None:
        """Use new connections after a fork: two processes on one connection would get each other's answers."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.engine.dispose(close=False)
            self.line = Line(self.engine)
            self.reservers.clear()


_MARK = "_has_events"
_engines: WeakKeyDictionary[Engine, _Beside] = WeakKeyDictionary()
"""Engines by the engine that owns a pool. Those that ``execution_options()`` returns share its pool and lifetime."""
_beside: WeakSet[Engine] = WeakSet()
"""The engines that were created here."""


def staging_engine(engine: Engine, session_connection: Connection | None = None) -> Engine | None:
    """Return the engine for short transactions beside those of `engine`.

    Args:
        engine: Identifies the database.
        session_connection: The session's connection. Its ``schema_translate_map`` may differ from its engine's, and
            both have to mean the same tables. Other options are not taken over.

    Returns:
        ``None`` if there can be no second connection: an in-memory database lives in its only connection.
    """
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        return None
    found = _without_options(owner_of_pool(engine))
    schemas = schema_map(session_connection or engine)
    return found.execution_options(schema_translate_map=schemas) if schemas else found


def line_of(engine: Engine) -> Line | None:
    """Return the line to a database for single statements; ``None`` unless it is an SQLite file.

    Nor is there one for an engine with a ``schema_translate_map``, which would have to be applied to each statement.
    """
    if engine.dialect.name != "sqlite" or staging_engine(engine) is None or schema_map(engine):
        return None
    return _engines[owner_of_pool(engine)].line


def give_back_at_end(engine: Engine, reserver: Reserver) -> None:
    """Let `reserver` give back what it does not use when `engine` is disposed of."""
    if (found := _engines.get(owner_of_pool(engine))) is not None:  # it was not, meanwhile
        found.reservers.add(reserver)


def schema_map(source: Engine | Connection) -> dict[str | None, str | None]:
    """Return the ``schema_translate_map`` of an engine or a connection, empty where there is none."""
    return schema_map_in(source.get_execution_options())


def schema_map_in(options: Mapping[str, Any]) -> dict[str | None, str | None]:
    """Return the ``schema_translate_map`` of execution options."""
    found: Mapping[str | None, str | None] | None = options.get("schema_translate_map")
    if not found:
        return {}
    # SQLAlchemy replaces the key None in the map when it first uses it.
    return {name: other for name, other in found.items() if name != "_none"}


def _without_options(engine: Engine) -> Engine:
    found = _engines.get(engine)
    if found is None:
        made = Engine(engine.pool.recreate(), engine.dialect, engine.url)
        _beside.add(made)  # first: it needs no option then
        found = _engines[engine] = _Beside(made)
        close_in_time(made)
        if engine.dialect.name == "sqlite":
            event.listen(made.pool, "connect", _wait_shortly)
        else:
            hold_conversations(made, made.pool)
            event.listen(made.pool, "connect", partial(_read_committed, engine.dialect))
        _dispose_with(engine)
    found.leave_to_parent()
    return found.engine


def _dispose_with(engine: Engine) -> None:
    was_marked = _MARK in vars(engine)
    event.listen(engine, "engine_disposed", _dispose)
    # For any listener SQLAlchemy (2.1) looks for listeners at every step of every statement on the engine, some sixty
    # calls for a row. It asks for this one without that mark. Others that come later set it, also on all engines.
    if not was_marked:
        vars(engine).pop(_MARK, None)


def owner_of_pool(engine: Engine) -> Engine:
    """Return the engine from which ``execution_options()`` has made `engine`; otherwise `engine` itself."""
    while (inner := getattr(engine, "_proxied", None)) is not None:
        engine = inner
    return engine


def run_beside(engine: Engine, work: Callable[[Connection], object]) -> None:
    """Run `work` in a short separate transaction, from a session event.

    A cancellation of the task takes effect at the end: drivers (aiomysql 0.3, asyncmy 0.2) lose connections whose
    statement is interrupted. If the server does not answer, the connection is shut after a while.
    """

    def run() -> None:
        with engine.begin() as connection:
            work(connection)

    call(run, lambda: in_time(engine, lambda: greenlet_spawn(run)))


def patiently(write: Callable[[], T]) -> T:
    """Call `write`, which runs a transaction, and repeat it while others are in its way.

    On SQLite they hold the lock. The connections of `staging_engine` wait only briefly for it, because of sessions that
    write; uploads and sweeps delay nothing, so they can wait longer. Those of an application's own engine wait as long
    as it says each time, so the time counts and not the attempts. On a server they have made the transaction end with a
    serialisation failure (where the engine is SERIALIZABLE) or a deadlock, and nothing of it is left.
    """
    until = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return write()
        except DBAPIError as error:
            if not is_to_be_repeated(error) or monotonic() >= until:
                raise


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction of its own, `patiently`."""

    def write() -> T:
        with engine.begin() as connection:
            return work(connection)

    return patiently(write)


async def in_time(engine: Engine, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` on `engine`'s database to its end, and shut its connections if it takes too long; see `heard`."""
    if engine.dialect.name == "sqlite":
        return await finish(work())  # no server; it waits only for a lock, and that wait has a limit
    return await heard(work)


def without_gap_locks(engine: Engine) -> Engine:
    """Return `engine`, on MySQL and MariaDB at READ COMMITTED.

    At their default, REPEATABLE READ, a statement locks all that it scans and the gaps in between: a sweep would keep
    uploads from being staged, and two sweeps could wait for each other.
    """
    if engine.dialect.name not in MYSQL or owner_of_pool(engine) in _beside:
        return engine
    return engine.execution_options(isolation_level="READ COMMITTED")


def _read_committed(dialect: Dialect, connection: Any, _record: Any) -> None:
    # MariaDB then locks no gaps; see above. Where a database or engine is SERIALIZABLE, a transaction of ours beside an
    # open one of the application would be reason enough for PostgreSQL to end that one (40001), each time anew. Every
    # step is one conditional statement, so ours need no more.
    #
    # Once for each connection. An option of the engine would be sent with each transaction, and an error then would
    # leave the connection to the garbage collector (SQLAlchemy 2.1).
    dialect.set_isolation_level(connection, "READ COMMITTED")


def _dispose(engine: Engine) -> None:
    if (found := _engines.pop(owner_of_pool(engine), None)) is not None:
        found.leave_to_parent()
        found.give_back()
        found.line.close()
        # SQLAlchemy leaves a connection that comes back after this to the garbage collector, and drivers warn of it.
        event.listen(found.engine.pool, "checkin", _close)
        found.engine.dispose()


def _close(_connection: Any, record: Any) -> None:
    record.close()


def _wait_shortly(connection: Any, _record: Any) -> None:
    # SQLite has one writer. A long wait for another one would delay a request that can do without it (see custody).
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_WAIT_MILLISECONDS}")
    cursor.close()


def can_stage_beside(connection: Connection) -> bool:
    """Return whether a second connection can write entries that `connection`'s open transaction is going to change.

    It cannot on SQLite once that transaction has begun: it may hold the only write lock, and would wait for itself. Nor
    can it on MariaDB if the server aborts transactions that change rows newer than their snapshot.
    """
    if connection.dialect.name in MYSQL:
        return not _ends_on_newer_rows(connection)
    if connection.dialect.name != "sqlite":
        return True
    return not getattr(connection.connection.driver_connection, "in_transaction", True)


def _ends_on_newer_rows(connection: Connection) -> bool:
    # The default from MariaDB 11.6.2 on; MySQL does not have it.
    found = connection.exec_driver_sql("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").all()
    switched_on = bool(found) and found[0][1] == "ON"
    return switched_on and connection.get_isolation_level() in {"REPEATABLE READ", "SERIALIZABLE"}
