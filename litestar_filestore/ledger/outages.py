"""Interprets errors of databases and their drivers: the database is away, busy or full.

No driver is imported; errors are recognised by what they carry: SQLSTATE (PostgreSQL), a number (MySQL and MariaDB) or
a result code (SQLite). Some errors of connecting pass through SQLAlchemy as the driver raised them.
"""

from __future__ import annotations

import errno
import re
import socket
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    TimeoutError as PoolTimeoutError,
)

from litestar_filestore.errors import DatabaseFullError, DatabaseUnavailableError, StorageError
from litestar_filestore.ledger.table import explain

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = (
    "explain_database_error",
    "guard_database",
    "has_waited_for_lock",
    "is_locked",
    "is_to_be_repeated",
    "translate_database_error",
)

_AWAY = "The database cannot be reached, is busy or did not answer in time; try again later"
_FULL = "No space is left in the database: make room where its data lies"

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES_AWAY = re.compile(
    r"08...|53[023]..|57014|57P0[1-5]|55P03|58030"
    r"|25006"  # a read-only transaction: the server has become a standby
)
_STATES_FULL = frozenset({"53100"})

# https://mariadb.com/kb/en/mariadb-error-codes/, and those of the client from 2000 on
_NUMBERS_AWAY = frozenset(
    {1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1290, 1836, 1927, 2002, 2003, 2005, 2006, 2012, 2013, 2055}
    | {4031}
)
_NUMBERS_FULL = frozenset({1021, 1114})

# Another transaction was in the way, and the server has rolled this one back: a serialisation failure, a deadlock, or a
# row that is newer than the snapshot (MariaDB with innodb_snapshot_isolation).
_STATES_LOST = frozenset({"40001", "40P01"})
_NUMBERS_LOST = frozenset({1213, 1020})

# https://www.sqlite.org/rescode.html: the low byte, the rest says more about it
_CODES_AWAY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR})
_CODES_FULL = frozenset({sqlite3.SQLITE_FULL})

_ERRNOS_AWAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})

# psycopg gives no SQLSTATE for errors while it connects.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|(?:database|role) .* does not exist"
)
_LOST = re.compile(r"connection (?:is |already |was )?(?:closed|lost|released)|closed the connection", re.IGNORECASE)


def translate_database_error(error: Exception) -> StorageError | None:
    """Return the error that an error of SQLAlchemy or a driver stands for; ``None`` if it is no outage.

    The message names neither host nor statement: those stay in the cause.
    """
    if isinstance(error, StorageError):
        return None
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnavailableError("No connection to the database became free in time; try again later")
    raised: Any = error.orig if isinstance(error, DBAPIError) else error
    if _is_full(raised):
        return DatabaseFullError(_FULL)
    if _is_away(raised) or (isinstance(error, DBAPIError) and _is_lost(error)):
        return DatabaseUnavailableError(_AWAY)
    return None


def explain_database_error(error: Exception) -> Exception:
    """Return the error that an error of the ledger's own transaction stands for; the error itself if it is no outage.

    Do not use it for statements on a connection of the application's session: the application expects SQLAlchemy's
    errors.
    """
    if (translated := translate_database_error(error)) is not None:
        return translated
    return explain(error) if isinstance(error, (OperationalError, ProgrammingError)) else error


@contextmanager
def guard_database() -> Generator[None]:
    """Replace database errors of the body by errors of this package.

    Raises:
        DatabaseUnavailableError: If the database is away or busy.
        DatabaseFullError: If it is full.
        LedgerMissingError: If it lacks a table of the ledger.
    """
    try:
        yield
    except Exception as error:
        explained = explain_database_error(error)
        if explained is error:
            raise
        raise explained from error


def is_locked(error: BaseException | None) -> bool:
    """Return whether an error of SQLite, or ours for it, means that another connection is writing."""
    if isinstance(error, DatabaseUnavailableError):
        error = error.__cause__
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def is_to_be_repeated(error: DBAPIError) -> bool:
    """Return whether a transaction has failed only because of another one, so that it may succeed when it is repeated.

    The server tells each such transaction to be repeated; only who owns it can do that.
    """
    return is_locked(error) or _sqlstate(error.orig) in _STATES_LOST or _number(error.orig) in _NUMBERS_LOST


def has_waited_for_lock(error: DBAPIError) -> bool:
    """Return whether an error of a server means that a lock could not be obtained in time."""
    return _sqlstate(error.orig) == "55P03" or _number(error.orig) == 1205  # noqa: PLR2004  # the servers' codes


def _is_full(error: Any) -> bool:
    return _sqlstate(error) in _STATES_FULL or _number(error) in _NUMBERS_FULL or _sqlite_code(error) in _CODES_FULL


def _is_away(error: Any) -> bool:
    if isinstance(error, OSError):
        return _is_unreachable(error)
    state = _sqlstate(error)
    return (
        (state is not None and _STATES_AWAY.fullmatch(state) is not None)
        or _number(error) in _NUMBERS_AWAY
        or _sqlite_code(error) in _CODES_AWAY
        # asyncpg raises it without asking the server; it has no SQLSTATE.
        or (_root(error) == "asyncpg" and state is None and _LOST.search(str(error)) is not None)
    )


def _is_unreachable(error: OSError) -> bool:
    # The error for a missing Unix socket has no file name; that for a missing certificate has one.
    missing_socket = isinstance(error, FileNotFoundError) and error.filename is None
    return (
        isinstance(error, (ConnectionError, TimeoutError, socket.gaierror))
        or error.errno in _ERRNOS_AWAY
        or missing_socket
    )


def _is_lost(error: DBAPIError) -> bool:
    """Return whether SQLAlchemy reports a broken or failed connection for which the driver gives no code."""
    if error.connection_invalidated:
        return True
    if isinstance(error, InterfaceError):
        return _LOST.search(str(error.orig)) is not None
    if not isinstance(error, OperationalError) or _root(error.orig) not in {"psycopg", "psycopg2"}:
        return False
    return _sqlstate(error.orig) is None and _REFUSED.search(str(error.orig)) is None


def _sqlstate(error: Any) -> str | None:
    found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return found if isinstance(found, str) else None


def _number(error: Any) -> int | None:
    """Return the number that drivers of MySQL and MariaDB put in front of their message."""
    if not any(cls.__name__ == "MySQLError" for cls in type(error).__mro__) and _root(error) not in {
        "MySQLdb",
        "mariadb",
        "mysql",
    }:
        return None
    number = getattr(error, "errno", None) or next(iter(error.args), None)
    return number if isinstance(number, int) else None


def _sqlite_code(error: Any) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _root(error: Any) -> str:
    return type(error).__module__.partition(".")[0]
