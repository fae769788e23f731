"""Follows transactions with files to their end: tells the journals, and then deletes objects.

Listeners on all sessions return at once if a session has no journal. Connections are listened to only if objects depend
on the answer to their COMMIT, which they do not if a ledger knows them.
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
from litestar_filestore.tracking.journal import journal_of, journal_on, known_journal
from litestar_filestore.tracking.turns import end_turn

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect, ExceptionContext
    from sqlalchemy.orm import Session, SessionTransaction

__all__ = (
    "after_commit",
    "after_transaction_end",
    "before_commit",
    "join",
)

_TRANSACTION_ROLLBACK = "40"
_STATEMENT_COMPLETION_UNKNOWN = "40003"

_dialects: weakref.WeakSet[Dialect] = weakref.WeakSet()
"""Dialects whose errors are seen."""


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
    if connection.dialect not in _dialects:
        event.listen(connection.dialect, "handle_error", _error_seen)
        _dialects.add(connection.dialect)
    journal.join(connection)


def before_commit(session: Session) -> None:
    """Make sure that a transaction with files can be committed."""
    if (journal := known_journal(session)) is None:
        return
    journal.check_whole(session)
    if journal.error_seen:
        # After a failed statement, PostgreSQL answers COMMIT with a rollback, and the drivers report success: the
        # objects of rows that still exist would be deleted. Any other statement fails, as it should.
        for connection in list(journal.connections):
            if not connection.closed:
                connection.execute(sa.select(sa.literal(1)))


def _error_seen(context: ExceptionContext) -> None:
    connection = context.connection
    journal = None if connection is None else journal_on(connection)
    if connection is None or journal is None:
        return
    journal.error_seen = True
    if _roll_back_on_sqlite(context, connection) or _says_rolled_back(context):
        journal.commits_sent.discard(id(connection))


def after_commit(session: Session) -> None:
    """Note what the end of a transaction or savepoint means, and wake the sweeper."""
    if (journal := known_journal(session)) is None:
        return
    is_nested = session.in_nested_transaction()
    is_committed = not is_nested or any(map(_release_was_commit, journal.connections))
    journal.committing(session, released_is_committed=is_committed)
    if journal.has_doomed and not is_nested:
        journal.has_doomed = False
        tell_doomed()


def after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    """Delete what a transaction leaves to delete."""
    journal = known_journal(session)
    if journal is None or (not transaction.nested and transaction.parent is not None):
        return
    if not transaction.nested:
        end_turn(session)
    if targets := journal.ended(transaction):
        delete_targets(targets)


def _autocommits(connection: Connection) -> bool:
    """Return whether each statement on a connection commits itself, although SQLAlchemy has begun a transaction."""
    if not _has_autocommit(connection):
        return False
    # With sqlite3 the mode may be off because the application sends BEGIN itself, from an event that ran before this.
    return connection.dialect.name != "sqlite" or not _sqlite_in_transaction(connection)


def _has_autocommit(connection: Connection) -> bool:
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
    # An error without a statement is that of COMMIT, if a transaction is open. Only the database's own answer counts: a
    # commit that was cancelled may still be on its way.
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
