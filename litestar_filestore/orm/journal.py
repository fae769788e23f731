"""What a session's transactions did to stored objects, so that their end can undo or finish it.

The order is: bytes, row, commit, delete. A savepoint's entries join those of the transaction around it when it is
released; rolled back, its new objects are deleted and what it replaced stays. Deletes run when the outermost
transaction has ended, never before its commit is certain.

This memory dies with the process: what a crash leaves is found by comparing listing and rows.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from litestar_filestore.errors import StorageError
from litestar_filestore.orm._bridge import call

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session, SessionTransaction

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.file_record import PendingContent

__all__ = ("Journal", "journal_of", "retry_deletes", "retry_deletes_async")

logger = logging.getLogger("litestar_filestore")


class _Stored(NamedTuple):
    file: FileObject
    backend: StorageBackend
    key: str
    pending: PendingContent


class _Target(NamedTuple):
    backend: StorageBackend
    key: str


_undeleted: list[_Target] = []
"""Objects that no row needs and whose delete failed; tried again with the next delete."""


class Journal:
    """The entries of one session, by the transaction or savepoint that made them."""

    def __init__(self) -> None:
        """Start empty."""
        self._stored: dict[SessionTransaction, list[_Stored]] = {}
        self._doomed: dict[SessionTransaction, list[_Target]] = {}
        self._trash: list[_Target] = []
        self._committed: dict[SessionTransaction, bool] = {}
        self.connections: WeakSet[Connection] = WeakSet()
        """What the session's transaction runs on."""
        self.commit_sent = False
        """Whether COMMIT went to the database, so that only its answer tells whether the rows are there."""

    def stored(self, session: Session, file: FileObject, pending: PendingContent) -> None:
        """Note that `file` got its object in the current transaction, and what it held before."""
        entry = _Stored(file, file.backend, file.path, pending)
        self._stored.setdefault(_current(session), []).append(entry)

    def doomed(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction took the object of `file` out of its row."""
        self._doomed.setdefault(_current(session), []).append(_Target(file.backend, file.path))

    def committing(self, session: Session) -> None:
        """Note that the current transaction or savepoint was committed."""
        transaction = _current(session)
        self._committed[transaction] = not transaction.nested or any(map(_release_was_commit, self.connections))

    def ended(self, transaction: SessionTransaction) -> list[_Target]:
        """Close the books of a transaction or savepoint and return what can be deleted now."""
        stored = self._stored.pop(transaction, [])
        doomed = self._doomed.pop(transaction, [])
        final = self._committed.pop(transaction, None)
        if final is False and transaction.parent is not None:
            outer = _effective(transaction.parent)
            self._stored.setdefault(outer, []).extend(stored)
            self._doomed.setdefault(outer, []).extend(doomed)
        elif final:
            self._trash.extend(doomed)
        elif not self.commit_sent or transaction.nested:
            self._undo(stored)
        else:
            # COMMIT was sent and failed: the rows may be there. An object too many is better than one too few.
            logger.error(
                "A commit failed without saying whether it took place; these objects may be left without a row: %s",
                ", ".join(f"{entry.backend.key}:{entry.key}" for entry in stored) or "none",
            )
        if transaction.nested:
            return []
        self.commit_sent = False
        self.connections.clear()
        trash, self._trash = self._trash, []
        return trash

    def _undo(self, stored: list[_Stored]) -> None:
        for entry in stored:
            entry.file.restore(entry.pending)
            self._trash.append(_Target(entry.backend, entry.key))


_journals: WeakKeyDictionary[Session, Journal] = WeakKeyDictionary()


def journal_of(session: Session) -> Journal:
    """Return the journal of a session, a new one for a session that has none."""
    journal = _journals.get(session)
    if journal is None:
        journal = _journals[session] = Journal()
    return journal


def _current(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:  # a flush begins one before it calls anybody
        raise StorageError("A file was stored or replaced outside a transaction")
    return transaction


def _release_was_commit(connection: Connection) -> bool:
    """Return whether releasing a savepoint has committed what is outside of it as well.

    Python's sqlite3, in its default mode, begins a transaction before the first INSERT, UPDATE or DELETE only: a
    savepoint that comes before it *is* the transaction, and its release a commit that no rollback takes back.
    """
    if connection.dialect.name != "sqlite" or connection.closed:
        return False
    driver = connection.connection.driver_connection
    return not getattr(driver, "in_transaction", True)


def _effective(transaction: SessionTransaction) -> SessionTransaction:
    # A flush runs in a subtransaction, which has no end of its own as far as the database is concerned.
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def delete_targets(targets: list[_Target]) -> None:
    """Delete objects that no row needs any more; for session events.

    The rows are committed or rolled back by now, so a failure must not look like one of the transaction: the object is
    kept for another try and named in the log.
    """
    pending = [*_undeleted, *targets]
    _undeleted.clear()
    for target in pending:
        try:
            call(partial(target.backend.delete, target.key), partial(target.backend.delete_async, target.key))
        except (StorageError, OSError) as error:
            _keep(target, error)


def retry_deletes() -> int:
    """Try the failed deletes of this process again and return how many are still left."""
    delete_targets([])
    return len(_undeleted)


async def retry_deletes_async() -> int:
    """`retry_deletes` without blocking the event loop."""
    pending = _undeleted[:]
    _undeleted.clear()
    for target in pending:
        try:
            await target.backend.delete_async(target.key)
        except (StorageError, OSError) as error:
            _keep(target, error)
    return len(_undeleted)


def _keep(target: _Target, error: Exception) -> None:
    _undeleted.append(target)
    logger.warning("Could not delete %s:%s, will try again: %s", target.backend.key, target.key, error)
