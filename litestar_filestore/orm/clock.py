"""The database's clock as seconds: hosts disagree about the time, one database does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ("database_now",)


class database_now(FunctionElement[float]):  # noqa: N801  # used like a SQL function
    """POSIX time of the database server in seconds (UTC) at which the statement began.

    One value for a whole statement, so that every planner looks it up once and searches an index with it.
    """

    type = sa.Double[float]()  # pyright: ignore[reportIncompatibleVariableOverride]  # as SQLAlchemy's own functions do
    inherit_cache = True
    name = "database_now"


@compiles(database_now)
def _unsupported(_element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    raise CompileError(f"The ledger does not know the clock of {compiler.dialect.name}")


@compiles(database_now, "postgresql")
def _postgresql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # now() stands still at the start of the transaction. clock_timestamp() is VOLATILE: it is asked for each row, and
    # PostgreSQL would read a million tombstones for a sweep that has nothing to do.
    return "EXTRACT(EPOCH FROM statement_timestamp())::double precision"


@compiles(database_now, "sqlite")
def _sqlite(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "mysql")
@compiles(database_now, "mariadb")
def _mysql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # UNIX_TIMESTAMP() of a local time is off by an hour while summer time ends.
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)"
