"""Single statements of the ledger on SQLite's driver itself, compiled once: each costs one worker hop.

Through SQLAlchemy a statement costs three with aiosqlite (cursor, execute, close), and a transaction of its own costs
two more (commit, and the rollback with which the pool resets a connection). Such a transaction runs on a line, which is
a connection that stays open for it. Servers are asked through SQLAlchemy's pool: there a round trip costs more than the
calls, and only the pool knows what to do about a connection that has gone silent.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy.util import await_only, greenlet_spawn

from litestar_filestore.core.threads import finish, run_blocking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ClauseElement
    from sqlalchemy.engine import Connection, Dialect, Engine

__all__ = ("Line", "Prepared", "changed_at_once", "takes_at_once")

_DRIVERS = frozenset({"pysqlite", "aiosqlite"})
"""Drivers whose own methods are used inside transactions."""


class Prepared(NamedTuple):
    """A statement as the driver takes it."""

    sql: str
    """The text."""
    names: Sequence[str]
    """The names of its parameters, in their order."""
    fixed: Mapping[str, Any]
    """The parameters that are the same each time."""

    @classmethod
    def of(cls, statement: ClauseElement, dialect: Dialect) -> Prepared:
        """Compile a statement whose other parameters are named ``bindparam()``."""
        compiled: Any = statement.compile(dialect=dialect)
        return cls(str(compiled), tuple(compiled.positiontup), dict(compiled.params))

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters in their order."""
        known = {**self.fixed, **values}
        return [known[name] for name in self.names]


class Line:
    """The connection, opened when it is first needed."""

    def __init__(self, beside: Engine) -> None:
        """Connect as the pool of `beside` does."""
        self.error: type[Exception] = beside.dialect.loaded_dbapi.Error
        """What a failed statement raises; it has changed nothing then."""
        self._engine = beside
        self._pid = os.getpid()
        self._is_over = False
        self._connection: Any = None
        self._driver: Any = None
        self._lock = Lock()

    @property
    def is_over(self) -> bool:
        """Whether it was closed, or is the parent process's."""
        return self._is_over or self._pid != os.getpid()

    async def run(self, prepared: Prepared, values: Mapping[str, Any]) -> None:
        """Run a statement that commits itself.

        If the caller is cancelled, the statement may still run. Those that are run later run after it.
        """
        if self._driver is None:
            await finish(self._open())
        parameters, driver = prepared.parameters(values), cast("Any", self._driver)
        if self._engine.dialect.is_async:
            await driver.execute_fetchall(prepared.sql, parameters)
        else:
            await run_blocking(partial(self._run, prepared.sql, parameters))

    def _run(self, sql: str, parameters: Sequence[Any]) -> None:
        with self._lock:
            self._driver.execute(sql, parameters).fetchall()

    async def _open(self) -> None:
        if self._engine.dialect.is_async:
            await greenlet_spawn(self._connect)
        else:
            await run_blocking(self._connect)

    def _connect(self) -> None:
        pooled: Any = self._engine.raw_connection()
        connection, driver = pooled.dbapi_connection, pooled.driver_connection
        self._engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        pooled.detach()  # the pool would roll back, in another hop, and report a connection that stays out
        if self._is_over or self._driver is not None:  # closed, or opened by another loop, meanwhile
            self._engine.dialect.do_terminate(connection)
        else:
            self._connection, self._driver = connection, driver
        if self._is_over:
            raise self.error("The engine was disposed of")

    def close(self) -> None:
        """Close the connection, for good."""
        self._is_over = True
        if self._driver is None:
            return
        self._driver = None
        self._engine.dialect.do_terminate(self._connection)


# -- inside a transaction of the application


def takes_at_once(connection: Connection) -> bool:
    """Return whether statements can go past SQLAlchemy on a connection: nobody listens, logs them or names a schema."""
    dialect = connection.dialect
    if dialect.driver not in _DRIVERS or not dialect.update_returning or dialect.dispatch.do_execute:
        return False
    inside: Any = connection  # SQLAlchemy itself asks these before each statement; no public name tells the same
    if inside._has_events or inside.engine._has_events or inside._echo:  # noqa: SLF001
        return False
    return not connection.get_execution_options().get("schema_translate_map")


def changed_at_once(connection: Connection, prepared: Prepared, values: Mapping[str, Any]) -> int | None:
    """Run a statement that returns a row for each that it changes, and return how many those are.

    If the caller is cancelled, the statement may still run; the end of its transaction runs after it.

    Args:
        connection: One that `takes_at_once`.
        prepared: The statement.
        values: Its parameters.

    Returns:
        ``None`` if it failed and changed nothing: SQLAlchemy, which explains errors, has to repeat it.
    """
    driver: Any = connection.connection.driver_connection
    parameters = prepared.parameters(values)
    try:
        if connection.dialect.is_async:
            return len(await_only(driver.execute_fetchall(prepared.sql, parameters)))
        return len(driver.execute(prepared.sql, parameters).fetchall())
    except connection.dialect.loaded_dbapi.Error:
        return None
