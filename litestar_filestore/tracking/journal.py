"""The journal of a session: what its transactions did to objects, and what to delete when they end."""

from __future__ import annotations

import enum
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import event

from litestar_filestore.core.file_events import FileDoomed, FileLinked
from litestar_filestore.core.file_object import Referred
from litestar_filestore.core.watching import tell, watchers
from litestar_filestore.errors import ConflictError, StorageError
from litestar_filestore.ledger.staging import owner_of_pool
from litestar_filestore.orm.bridge import call
from litestar_filestore.tracking import holds
from litestar_filestore.tracking.deletes import Target
from litestar_filestore.tracking.marks import mark_taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session, SessionTransaction

    from litestar_filestore.core.file_object import FileObject, PendingContent

__all__ = (
    "Journal",
    "has_committed_row",
    "journal_of",
    "journal_on",
    "known_journal",
)

logger = logging.getLogger("litestar_filestore")


class Outcome(enum.Enum):
    """The fate of the rows of a transaction or savepoint."""

    COMMITTED = enum.auto()
    """The rows are committed."""
    RELEASED = enum.auto()
    """The rows share the fate of the enclosing transaction."""
    ROLLED_BACK = enum.auto()
    """The rows are rolled back."""
    UNKNOWN = enum.auto()
    """It is not known whether the rows exist, or it is decided elsewhere later."""


class _Stored(NamedTuple):
    """An object was written for a file whose content was `pending` until then."""

    target: Target
    file: FileObject
    pending: PendingContent


class _Linked(NamedTuple):
    """A row now holds the object."""

    target: Target


class _Doomed(NamedTuple):
    """A row no longer holds the object."""

    target: Target


class _Entered(NamedTuple):
    """A row now holds the object, and a ledger has an entry for it, so nothing depends on how the transaction ends."""

    target: Target
    file: FileObject


class _Marked(NamedTuple):
    """An object that a client's reference names was taken for a row of this transaction."""

    target: Target
    mark: Target


class _Changed(NamedTuple):
    """Which files rows hold since this statement, and which they gave up; noted only if somebody watches."""

    target: None
    gained: Sequence[FileObject]
    lost: Sequence[FileObject]


_Entry: TypeAlias = "_Stored | _Linked | _Entered | _Doomed | _Marked | _Changed"

_ENTERED = (_Entered, _Changed)
"""Entries for which nothing depends on how the transaction ends."""

_committed: WeakSet[FileObject] = WeakSet()
"""Files with an entry in a ledger whose row was committed."""


def has_committed_row(file: FileObject) -> bool:
    """Return whether this process has seen the commit of a row that took a file, which a ledger knows.

    If not, the row may be committed all the same: the ledger tells.
    """
    return file in _committed


class Journal:
    """The entries of one session, in order, by the transaction or savepoint that made them."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[SessionTransaction, list[_Entry]] = {}
        self._outcomes: dict[SessionTransaction, Outcome] = {}
        self._trash: list[Target] = []
        self._spoiled: set[SessionTransaction] = set()
        self._connections: list[ref[Connection]] = []
        self._asks_commit = False
        """Whether it depends on the answer to a COMMIT what is deleted."""
        self.commits_sent: set[int] = set()
        """Connections, by identity, whose COMMIT was sent and not refused: only the database's answer tells whether the
        rows exist. A session with several databases commits one after the other."""
        self.has_doomed = False
        """Whether the commit leaves something to sweep."""
        self.error_seen = False
        """Whether a statement failed; PostgreSQL answers the COMMIT after that with a silent rollback."""

    @property
    def connections(self) -> list[Connection]:
        """Connections on which the session's transaction writes files."""
        found: list[Connection] = []
        for each in self._connections:
            if (connection := each()) is not None:
                found.append(connection)  # noqa: PERF401  # one call less, in each step of a session
        return found

    def store(self, session: Session, file: FileObject) -> None:
        """Store pending content, and delete the object if the current transaction rolls back."""
        pending, target = file.pending_content(), Target(file.backend, file.path)
        key_is_new = file.key_is_new
        try:
            call(file.put, file.put_async)
        except BaseException:
            # The store may have the object all the same: the response was lost, or the task was cancelled too late. An
            # object under a pinned key may be another writer's.
            if key_is_new:
                self._trash.append(target)
            raise
        self.stored(session, file, pending)

    def stored(self, session: Session, file: FileObject, pending: PendingContent) -> None:
        """Note that `file` got its object in the current transaction, and its previous content."""
        self._add(session, _Stored(Target(file.backend, file.path), file, pending))

    def linked(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction put the object of `file` into a row.

        Raises:
            LinkLostError: If a request had stored the object and has given it up.
        """
        target = Target(file.backend, file.path)
        holds.claim(target, file)
        self._add(session, _Linked(target))

    def entered(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction put an object into a row, and linked its entry in the ledger."""
        self._add(session, _Entered(Target(file.backend, file.path), file))

    def doomed(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction removed the object of `file` from its row."""
        self._add(session, _Doomed(Target(file.backend, file.path)))

    def changed(self, session: Session, gained: Sequence[FileObject], lost: Sequence[FileObject]) -> None:
        """Note what to tell of the current transaction if it is committed."""
        self._add(session, _Changed(None, gained, lost))

    def take(self, session: Session, file: FileObject) -> None:
        """Take a file that a client's reference names for a row of the current transaction, once.

        Raises:
            ConflictError: If a row has it already, or the application keeps it.
            LinkLostError: If the object is gone.
        """
        target = Target(file.backend, file.path)
        if not any(isinstance(entry, _Marked) and entry.target == target for entry in self._all()):
            self._add(session, _Marked(target, Target(file.backend, mark_taken(file))))

    def check_free(self, file: FileObject) -> None:
        """Make sure that a row of the current transaction may take a file that a client's reference names.

        Raises:
            ConflictError: If another row holds it.
        """
        target = Target(file.backend, file.path)
        last = [entry for entry in self._all() if entry.target == target and isinstance(entry, (_Linked, _Doomed))][-1:]
        is_held = isinstance(last[0], _Linked) if last else file.referred is Referred.HELD
        if is_held:
            raise ConflictError(
                "The file belongs to another row already; assign file.copy() instead", backend=file.backend_key
            )

    def _all(self) -> Iterator[_Entry]:
        for entries in self._entries.values():
            yield from entries

    def spoiled(self, session: Session) -> None:
        """Note that rows were written in the current transaction or savepoint whose files could not be settled."""
        self._spoiled.add(_current(session))

    def check_whole(self, session: Session) -> None:
        """Make sure that the current transaction or savepoint can be committed.

        Raises:
            ConflictError: If it has written rows whose files could not be settled.
        """
        if self._spoiled and _current(session) in self._spoiled:
            raise ConflictError("A statement of this transaction was refused after it had run: roll it back")

    def join(self, connection: Connection) -> None:
        """Note that the session's transaction writes files on a connection."""
        self._connections.append(ref(connection))
        _journals[connection] = self
        if self._asks_commit:
            _follow_commit(connection)

    def _add(self, session: Session, entry: _Entry) -> None:
        self._entries.setdefault(_current(session), []).append(entry)
        if not isinstance(entry, _ENTERED) and not self._asks_commit:
            self._asks_commit = True
            for connection in self.connections:
                _follow_commit(connection)

    def committing(self, session: Session, *, released_is_committed: bool) -> None:
        """Note that the current transaction or savepoint was committed."""
        transaction = _current(session)
        if transaction.nested and not released_is_committed:
            outcome = Outcome.RELEASED
        elif not transaction.nested and any(map(_is_open, self.connections)):
            # The session joined a transaction of the application, which may still roll everything back.
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.COMMITTED
        self._outcomes[transaction] = outcome

    def ended(self, transaction: SessionTransaction) -> list[Target]:
        """Close the entries of a transaction or savepoint, and return what can be deleted now."""
        entries = self._entries.pop(transaction, [])
        self._spoiled.discard(transaction)
        match self._outcome(transaction):
            case Outcome.COMMITTED:
                self._trash.extend(_unneeded(entries))
                _settle_loose(entries, taken=True)
                _committed.update(entry.file for entry in entries if isinstance(entry, _Entered))
                if watchers:
                    _tell(entry for entry in entries if isinstance(entry, _Changed))
            case Outcome.RELEASED if transaction.parent is not None:
                self._entries.setdefault(_effective(transaction.parent), []).extend(entries)
            case Outcome.ROLLED_BACK:
                self._undo(entries)
                _settle_loose(entries, taken=False)
            case _:
                _report(entries)
                _settle_loose(entries, taken=True)
        if transaction.nested:
            return []
        self.error_seen = self._asks_commit = False
        self.commits_sent.clear()
        self._connections.clear()
        trash, self._trash = self._trash, []
        return trash

    def _outcome(self, transaction: SessionTransaction) -> Outcome:
        noted = self._outcomes.pop(transaction, None)
        if noted is not None:
            return noted
        undecided = bool(self.commits_sent) and not transaction.nested
        return Outcome.UNKNOWN if undecided else Outcome.ROLLED_BACK

    def _undo(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            if isinstance(entry, _Stored):
                entry.file.restore(entry.pending)
                self._trash.append(entry.target)
            elif isinstance(entry, _Marked):
                self._trash.append(entry.mark)


def _unneeded(entries: Iterable[_Entry]) -> Iterable[Target]:
    """Return the objects that no row holds after these entries: a file may move from one row to another."""
    targets: dict[Target, bool] = {}
    for entry in entries:
        if isinstance(entry, _Linked):
            targets.pop(entry.target, None)
        elif not isinstance(entry, (*_ENTERED, _Marked)):
            # No client has a reference to an object that this transaction has stored itself.
            targets[entry.target] = isinstance(entry, _Doomed)
    return [target._replace(may_be_marked=marked) for target, marked in targets.items()]


def _tell(changes: Iterable[_Changed]) -> None:
    """Tell what a transaction has changed in the end: a file that came and went, or only moved, is no news."""
    held: Counter[FileObject] = Counter()
    for change in changes:
        held.update(change.gained)
        held.subtract(change.lost)
    for file, number in held.items():
        if number:
            tell((FileLinked if number > 0 else FileDoomed)(file.backend_key, file))


def _settle_loose(entries: Iterable[_Entry], *, taken: bool) -> None:
    for entry in entries:
        if isinstance(entry, _Linked):
            holds.settle(entry.target, taken=taken)


def _report(entries: Iterable[_Entry]) -> None:
    # One object too many is better than one too few.
    targets = dict.fromkeys(entry.target for entry in entries if not isinstance(entry, (*_ENTERED, _Marked)))
    if targets:
        logger.error(
            "A transaction ended without saying whether its rows are there; some of these objects may have no row: %s",
            ", ".join(f"{target.backend.key}:{target.key}" for target in targets),
        )


def _is_open(connection: Connection) -> bool:
    return not connection.closed and connection.in_transaction()


_JOURNAL = "litestar_filestore.journal"
_journals: WeakKeyDictionary[Connection, Journal] = WeakKeyDictionary()
"""The journal of the session that writes files on a connection."""


def journal_of(session: Session) -> Journal:
    """Return the journal of a session; make one if it has none."""
    journal = known_journal(session)
    if journal is None:
        journal = session.info[_JOURNAL] = Journal()
    return journal


def known_journal(session: Session) -> Journal | None:
    """Return the journal of a session; ``None`` if the session has written no files so far."""
    journal: Journal | None = session.info.get(_JOURNAL)
    return journal


def journal_on(connection: Connection) -> Journal | None:
    """Return the journal of the session that writes files on a connection; ``None`` if none does."""
    return _journals.get(connection)


_followed: WeakSet[Engine] = WeakSet()
"""Engines whose COMMITs are seen."""


def _follow_commit(connection: Connection) -> None:
    if (engine := owner_of_pool(connection.engine)) not in _followed:
        _listen_to_commit(engine)
        _followed.add(engine)
    # Made before the listeners of its engine, it does not have them. To listen to each costs a hundred calls.
    if _commit_sent not in tuple(connection.dispatch.commit):
        _listen_to_commit(connection)


def _listen_to_commit(target: Engine | Connection) -> None:
    event.listen(target, "commit", _commit_sent)
    event.listen(target, "commit_twophase", _twophase_sent)


def _commit_sent(connection: Connection) -> None:
    if (journal := journal_on(connection)) is not None:
        journal.commits_sent.add(id(connection))


def _twophase_sent(connection: Connection, _xid: Any, _is_prepared: bool) -> None:  # noqa: FBT001  # SQLAlchemy's
    _commit_sent(connection)


def _current(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:  # a flush begins one before it calls any listener
        raise StorageError("A file was stored or replaced outside a transaction: begin one first")
    return transaction


def _effective(transaction: SessionTransaction) -> SessionTransaction:
    # A flush runs in a subtransaction, which does not exist for the database.
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction
