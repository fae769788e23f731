"""Follows transactions with files to their end: tells the journals, and then deletes objects.

From a session's first file on, it listens to the session and to the connection that writes its rows. Sessions without
files, and their connections, are left alone.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

from litestar_filestore.errors import LedgerError
from litestar_filestore.ledger.sweep import tell_doomed
from litestar_filestore.tracking.deletes import delete_targets
from litestar_filestore.tracking.journal import Journal, journal_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.orm import Session, SessionTransaction

__all__ = ("join",)

_TRANSACTION_ROLLBACK = "40"
_STATEMENT_COMPLETION_UNKNOWN = "40003"

_connections: weakref.WeakKeyDictionary[Connection, Journal] = weakref.WeakKeyDictionary()


def join(session: Session, connection: Connection) -> None:
    """Follow the transactions of a session that is about to write files, and that of its connection.

    Raises:
        LedgerError: If each statement on the connection commits itself.
    """
    journal = journal_of(session)
    if connection in journal.connections:
        return
    if _autocommits(connection):
        raise LedgerError(
            "This session runs with AUTOCOMMIT, where each statement is a transaction of its own: a row with files "
            "needs one that holds the row and its objects together. Use an engine or connection with another "
            "isolation_level for it"
        )
    if not journal.connections and not event.contains(session, "after_commit", _after_commit):
        event.listen(session, "before_commit", _before_commit)
        event.listen(session, "after_commit", _after_commit)
        event.listen(session, "after_transaction_end", _after_transaction_end)
    if connection not in _connections:
        event.listen(connection, "commit", _commit_sent)
        event.listen(connection, "commit_twophase", _twophase_sent)
        if not event.contains(connection.dialect, "handle_error", _error_seen):
            event.listen(connection.dialect, "handle_error", _error_seen)
    journal.connections.add(connection)
    _connections[connection] = journal


def _before_commit(session: Session) -> None:
    journal = journal_of(session)
    journal.check_whole(session)
    if journal.error_seen:
        # After a failed statement, PostgreSQL answers COMMIT with a rollback, and the drivers report success: the
        # objects of rows that still exist would be deleted. Any other statement fails, as it should.
        for connection in list(journal.connections):
            if not connection.closed:
                connection.execute(sa.select(sa.literal(1)))


def _commit_sent(connection: Connection) -> None:
    if (journal := _connections.get(connection)) is not None:
        journal.commits_sent.add(id(connection))


def _twophase_sent(connection: Connection, _xid: Any, _is_prepared: bool) -> None:  # noqa: FBT001  # SQLAlchemy's
    _commit_sent(connection)


def _error_seen(context: ExceptionContext) -> None:
    connection = context.connection
    journal = None if connection is None else _connections.get(connection)
    if connection is None or journal is None:
        return
    journal.error_seen = True
    if id(connection) not in journal.commits_sent:
        return
    if _roll_back_on_sqlite(context, connection) or _says_rolled_back(context):
        journal.commits_sent.discard(id(connection))


def _after_commit(session: Session) -> None:
    journal = journal_of(session)
    journal.committing(session, released_is_committed=any(map(_release_was_commit, journal.connections)))
    if journal.has_doomed and not session.in_nested_transaction():
        journal.has_doomed = False
        tell_doomed()


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if not transaction.nested and transaction.parent is not None:
        return
    if targets := journal_of(session).ended(transaction):
        delete_targets(targets)


def _autocommits(connection: Connection) -> bool:
    """Return whether each statement on a connection commits itself, although SQLAlchemy has begun a transaction."""
    # With sqlite3 the mode may be off because the application sends BEGIN itself, from an event that ran before this.
    if connection.dialect.name == "sqlite" and _sqlite_in_transaction(connection):
        return False
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return True
    driver: Any = connection.connection.dbapi_connection
    if (detect := getattr(connection.dialect, "detect_autocommit_setting", None)) is not None:
        return bool(detect(driver))
    # SQLAlchemy before 2.0.43 has no such method.
    if connection.dialect.name == "sqlite":
        return driver.isolation_level is None
    if (ask := getattr(connection.connection.driver_connection, "get_autocommit", None)) is not None:
        return bool(ask())
    return getattr(driver, "autocommit", False) is True


def _sqlite_in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def _roll_back_on_sqlite(context: ExceptionContext, connection: Connection) -> bool:
    """End the transaction that SQLite leaves open when COMMIT fails, and return whether there was one.

    COMMIT fails there because of a constraint that is checked at commit, or because of readers. SQLAlchemy 2.1
    considers its transaction ended. A session that is then closed without a rollback, as Advanced Alchemy 1.12 does,
    gives the connection back to the pool as it is: it would keep the write lock, and its next user could commit rows
    whose objects are deleted.
    """
    # Only the database's own answer counts: a commit that was cancelled may still be on its way.
    answered = isinstance(context.sqlalchemy_exception, DBAPIError) and not context.is_disconnect
    if not answered or context.statement is not None or connection.dialect.name != "sqlite":
        return False
    if not _sqlite_in_transaction(connection):
        return False
    connection.dialect.do_rollback(connection.connection)
    return True


def _says_rolled_back(context: ExceptionContext) -> bool:
    """Return whether the database reports, by the error that COMMIT raised, that nothing was committed.

    A constraint that is checked at commit failed, or SQLSTATE class 40 (ISO/IEC 9075-2 §24.1): "transaction rollback".
    """
    if context.is_disconnect:
        return False
    if isinstance(context.sqlalchemy_exception, IntegrityError):
        return True
    state = getattr(context.original_exception, "sqlstate", None)
    return isinstance(state, str) and state[:2] == _TRANSACTION_ROLLBACK and state != _STATEMENT_COMPLETION_UNKNOWN


def _release_was_commit(connection: Connection) -> bool:
    """Return whether releasing a savepoint has committed the work outside of it as well.

    In its default mode, Python's sqlite3 begins a transaction only before the first INSERT, UPDATE or DELETE: a
    savepoint that comes earlier *is* the transaction, and its release is a commit that cannot be rolled back.
    """
    return connection.dialect.name == "sqlite" and not connection.closed and not _sqlite_in_transaction(connection)
