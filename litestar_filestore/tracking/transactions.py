"""How the transactions of all sessions end: what the journals are told, and when objects are deleted."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from litestar_filestore.ledger.wake import tell_doomed
from litestar_filestore.tracking.autocommit import autocommits, sqlite_in_transaction
from litestar_filestore.tracking.custody import DOOMED
from litestar_filestore.tracking.journal import Journal, delete_targets, journal_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.orm import SessionTransaction

_TRANSACTION_ROLLBACK = "40"
_STATEMENT_COMPLETION_UNKNOWN = "40003"

_connections: weakref.WeakKeyDictionary[Connection, Journal] = weakref.WeakKeyDictionary()


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    journal = journal_of(session)
    journal.connections.add(connection)
    journal.autocommits = journal.autocommits or autocommits(connection)
    _connections[connection] = journal


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    journal = journal_of(session)
    journal.check_whole(session)
    if journal.error_seen:
        # After a failed statement PostgreSQL answers COMMIT with a rollback, and the drivers take that for success:
        # the objects of rows that are still there would be deleted. Any other statement fails, as it should.
        for connection in list(journal.connections):
            if not connection.closed:
                connection.execute(sa.select(sa.literal(1)))


@event.listens_for(Engine, "commit")
def _commit_sent(connection: Connection) -> None:
    if (journal := _connections.get(connection)) is not None:
        journal.commits_sent.add(id(connection))


@event.listens_for(Engine, "commit_twophase")
def _twophase_sent(connection: Connection, _xid: Any, _is_prepared: bool) -> None:  # noqa: FBT001  # SQLAlchemy's
    _commit_sent(connection)


@event.listens_for(Engine, "handle_error")
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


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    journal = journal_of(session)
    journal.committing(session, released_is_committed=any(map(_release_was_commit, journal.connections)))
    if not session.in_nested_transaction() and session.info.pop(DOOMED, False):
        tell_doomed()


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if not transaction.nested and transaction.parent is not None:
        return
    if targets := journal_of(session).ended(transaction):
        delete_targets(targets)


def _roll_back_on_sqlite(context: ExceptionContext, connection: Connection) -> bool:
    """End the transaction that SQLite leaves open when COMMIT fails, and return whether there was one.

    COMMIT fails there for a constraint that is checked at commit, and for readers that are in the way. SQLAlchemy 2.1
    takes its transaction for ended, and a session that is closed then, without a rollback, gives the connection back to
    the pool as it is (Advanced Alchemy 1.12 does so): it would hold the write lock, and whoever is handed it next could
    commit rows whose objects are deleted.
    """
    # Only the database's own word: a commit that was cancelled may still be on its way.
    answered = isinstance(context.sqlalchemy_exception, DBAPIError) and not context.is_disconnect
    if not answered or context.statement is not None or connection.dialect.name != "sqlite":
        return False
    if not sqlite_in_transaction(connection):
        return False
    connection.dialect.do_rollback(connection.connection)
    return True


def _says_rolled_back(context: ExceptionContext) -> bool:
    """Return whether the error that COMMIT raised is the database's word that nothing was committed.

    A constraint that is checked at commit failed, or SQLSTATE class 40 (ISO/IEC 9075-2 §24.1): "transaction rollback".
    """
    if context.is_disconnect:
        return False
    if isinstance(context.sqlalchemy_exception, IntegrityError):
        return True
    state = getattr(context.original_exception, "sqlstate", None)
    return isinstance(state, str) and state[:2] == _TRANSACTION_ROLLBACK and state != _STATEMENT_COMPLETION_UNKNOWN


def _release_was_commit(connection: Connection) -> bool:
    """Return whether releasing a savepoint has committed what is outside of it as well.

    Python's sqlite3, in its default mode, begins a transaction before the first INSERT, UPDATE or DELETE only: a
    savepoint that comes before it *is* the transaction, and its release a commit that no rollback takes back.
    """
    return connection.dialect.name == "sqlite" and not connection.closed and not sqlite_in_transaction(connection)
