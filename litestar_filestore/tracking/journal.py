"""Deleting objects that no row needs, and remembering those whose delete failed."""

from __future__ import annotations

import enum
import logging
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from litestar_filestore.core.file_object import Referred
from litestar_filestore.errors import ConflictError, LinkLostError, StorageError
from litestar_filestore.orm.bridge import call
from litestar_filestore.tracking.marks import erase, erase_async, mark_taken

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session, SessionTransaction

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject, PendingContent

__all__ = (
    "MAX_WAITING",
    "Journal",
    "JournalCustody",
    "Outcome",
    "Target",
    "check",
    "check_distinct",
    "claim",
    "delete_targets",
    "delete_targets_async",
    "is_watched",
    "journal_of",
    "let_go",
    "retry_deletes",
    "retry_deletes_async",
    "settle",
    "store_for",
    "watch",
)

logger = logging.getLogger("litestar_filestore")


class Target(NamedTuple):
    """One object, by the backend that holds it."""

    backend: StorageBackend
    key: str
    may_be_marked: bool = False
    """Whether marks may lie beside it, which are deleted then as well, with a request of their own."""


MAX_WAITING = 100_000
"""How many failed deletes a process remembers, some 20 MB: in an outage that does not end, its memory must not grow."""

_waiting: deque[Target] = deque()
"""Objects to delete. One leaves the queue when its delete begins and comes back when that fails or is cancelled, so
threads can share it and nothing in it is forgotten."""


def delete_targets(targets: Iterable[Target]) -> None:
    """Delete objects, and those that could not be deleted before; for session events.

    The rows are committed or rolled back by now, so a failure must not look like one of the transaction: the object is
    kept for another try, with the next transaction that deletes anything, and named in the log.
    """
    _waiting.extendleft(targets)
    refusing: set[StorageBackend] = set()
    for target in _due(refusing):
        with _kept_on_failure(target, refusing):
            call(partial(erase, *target), partial(erase_async, *target))


def retry_deletes() -> int:
    """Try the failed deletes of this process again and return how many are still left."""
    delete_targets(())
    return len(_waiting)


async def delete_targets_async(targets: Iterable[Target]) -> None:
    """`delete_targets` without blocking the event loop."""
    _waiting.extendleft(targets)
    await retry_deletes_async()


async def retry_deletes_async() -> int:
    """`retry_deletes` without blocking the event loop."""
    refusing: set[StorageBackend] = set()
    for target in _due(refusing):
        with _kept_on_failure(target, refusing):
            await erase_async(*target)
    return len(_waiting)


def _due(refusing: set[StorageBackend]) -> Iterator[Target]:
    """Take each waiting target once.

    Those of backends that refuse go back untried: an outage costs one attempt per transaction, not one per object.
    """
    for _ in range(len(_waiting)):
        try:
            target = _waiting.popleft()
        except IndexError:  # another thread was faster
            return
        if target.backend in refusing:
            _waiting.append(target)
        else:
            yield target


def _remember(target: Target) -> None:
    _waiting.append(target)
    if len(_waiting) > MAX_WAITING:
        lost = _waiting.popleft()
        logger.error(
            "More than %d deletes have failed: %s:%s is forgotten and stays in the store; compare its listing with "
            "your rows when it works again",
            MAX_WAITING,
            lost.backend.key,
            lost.key,
        )


@contextmanager
def _kept_on_failure(target: Target, refusing: set[StorageBackend]) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        _remember(target)
        if not isinstance(error, Exception):
            raise
        refusing.add(target.backend)
        logger.warning("Could not delete %s:%s, will try again: %s", target.backend.key, target.key, error)


@dataclass(slots=True)
class _Hold:
    claims: int = 0
    """Open transactions that put the object into a row."""
    taken: bool = False
    """Whether a row has it, or may have it."""


_holds: dict[Target, _Hold] = {}
_given_up: WeakSet[FileObject] = WeakSet()
# Sync sessions run in threads, and what they claim must not be given up at the same moment.
_lock = Lock()


def watch(target: Target) -> None:
    """Begin to note what happens to an object."""
    with _lock:
        _holds[target] = _Hold()


def is_watched(target: Target) -> bool:
    """Return whether an object belongs to a request."""
    return target in _holds


def claim(target: Target, file: FileObject) -> None:
    """Note that an open transaction puts an object into a row.

    Raises:
        LinkLostError: If the object was given up.
    """
    with _lock:
        check(file)
        if (hold := _holds.get(target)) is not None:
            hold.claims += 1


def settle(target: Target, *, taken: bool) -> None:
    """Note how a transaction ended that had claimed an object."""
    with _lock:
        if (hold := _holds.get(target)) is not None:
            hold.claims -= 1
            hold.taken = hold.taken or taken


def let_go(target: Target, file: FileObject, *, give_up: bool) -> bool:
    """Forget an object.

    Args:
        target: The object.
        file: Stands for it.
        give_up: Whether it is to be deleted if nobody has it; no row can take it any more then.

    Returns:
        Whether it has to be deleted. One that an open transaction claims does not: its row may be there in a moment.

    Raises:
        LinkLostError: If it was given up before.
    """
    with _lock:
        check(file)
        hold = _holds.pop(target, None)
        free = give_up and hold is not None and not hold.taken and not hold.claims
        if free:
            _given_up.add(file)
        return free


def check(file: FileObject) -> None:
    """Make sure that a file was not given up.

    Raises:
        LinkLostError: If it was.
    """
    if file in _given_up:
        raise LinkLostError(
            "The request that stored the file is over and has given it up; store the content again",
            backend=file.backend_key,
            key=file.path,
        )


class Outcome(enum.Enum):
    """What became of the rows of a transaction or savepoint."""

    COMMITTED = enum.auto()
    """They are there for everybody."""
    RELEASED = enum.auto()
    """They share the fate of the transaction around them."""
    ROLLED_BACK = enum.auto()
    """They are gone."""
    UNKNOWN = enum.auto()
    """They may be there or not, or somebody else decides it later."""


class _Stored(NamedTuple):
    """An object was written for a file that held `pending` until then."""

    target: Target
    file: FileObject
    pending: PendingContent


class _Linked(NamedTuple):
    """A row now holds the object."""

    target: Target


class _Doomed(NamedTuple):
    """A row no longer holds the object."""

    target: Target


class _Marked(NamedTuple):
    """An object that a client's reference names was taken for a row of this transaction."""

    target: Target
    mark: Target


_Entry: TypeAlias = "_Stored | _Linked | _Doomed | _Marked"


class Journal:
    """The entries of one session, in their order, by the transaction or savepoint that made them."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[SessionTransaction, list[_Entry]] = {}
        self._outcomes: dict[SessionTransaction, Outcome] = {}
        self._trash: list[Target] = []
        self._spoiled: set[SessionTransaction] = set()
        self.connections: WeakSet[Connection] = WeakSet()
        """What the session's transaction runs on."""
        self.commits_sent: set[int] = set()
        """Connections, by their identity, on which COMMIT went to the database and that has not said no: only its
        answer tells whether the rows are there. A session with several databases commits one after the other."""
        self.autocommits = False
        """Whether rows are there from their statement on and no rollback takes them back."""
        self.error_seen = False
        """Whether a statement failed; PostgreSQL answers the COMMIT after that with a silent rollback."""

    def stored(self, session: Session, file: FileObject, pending: PendingContent) -> None:
        """Note that `file` got its object in the current transaction, and what it held before."""
        self._add(session, _Stored(Target(file.backend, file.path), file, pending))

    def linked(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction put the object of `file` into a row.

        Raises:
            LinkLostError: If a request had stored the object and has given it up.
        """
        target = Target(file.backend, file.path)
        claim(target, file)
        self._add(session, _Linked(target))

    def doomed(self, session: Session, file: FileObject) -> None:
        """Note that the current transaction took the object of `file` out of its row."""
        self._add(session, _Doomed(Target(file.backend, file.path)))

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

    def abandoned(self, target: Target) -> None:
        """Note that a put failed. Part of the failures come after the effect, so the object may be there."""
        self._trash.append(target)

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

    def _add(self, session: Session, entry: _Entry) -> None:
        self._entries.setdefault(_current(session), []).append(entry)

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
        """Close the books of a transaction or savepoint and return what can be deleted now."""
        entries = self._entries.pop(transaction, [])
        self._spoiled.discard(transaction)
        match self._outcome(transaction):
            case Outcome.COMMITTED:
                self._trash.extend(_unneeded(entries))
                _settle_loose(entries, taken=True)
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
        self.autocommits = self.error_seen = False
        self.commits_sent.clear()
        self.connections.clear()
        trash, self._trash = self._trash, []
        return trash

    def _outcome(self, transaction: SessionTransaction) -> Outcome:
        noted = self._outcomes.pop(transaction, None)
        if noted is not None:
            return noted
        undecided = self.autocommits or (bool(self.commits_sent) and not transaction.nested)
        return Outcome.UNKNOWN if undecided else Outcome.ROLLED_BACK

    def _undo(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            if isinstance(entry, _Stored):
                entry.file.restore(entry.pending)
                self._trash.append(entry.target)
            elif isinstance(entry, _Marked):
                self._trash.append(entry.mark)


def _unneeded(entries: Iterable[_Entry]) -> Iterable[Target]:
    """Return what no row holds after these entries: a file may move from one row to another."""
    targets: dict[Target, bool] = {}
    for entry in entries:
        if isinstance(entry, _Linked):
            targets.pop(entry.target, None)
        elif not isinstance(entry, _Marked):
            # What this transaction has stored itself, no client has a reference to.
            targets[entry.target] = isinstance(entry, _Doomed)
    return [target._replace(may_be_marked=marked) for target, marked in targets.items()]


def _settle_loose(entries: Iterable[_Entry], *, taken: bool) -> None:
    for entry in entries:
        if isinstance(entry, _Linked):
            settle(entry.target, taken=taken)


def _report(entries: Iterable[_Entry]) -> None:
    # An object too many is better than one too few.
    targets = dict.fromkeys(entry.target for entry in entries if not isinstance(entry, _Marked))
    if targets:
        logger.error(
            "A transaction ended without saying whether its rows are there; some of these objects may have no row: %s",
            ", ".join(f"{target.backend.key}:{target.key}" for target in targets),
        )


def _is_open(connection: Connection) -> bool:
    return not connection.closed and connection.in_transaction()


_journals: WeakKeyDictionary[Session, Journal] = WeakKeyDictionary()


def journal_of(session: Session) -> Journal:
    """Return the journal of a session, a new one if it has none."""
    journal = _journals.get(session)
    if journal is None:
        journal = _journals[session] = Journal()
    return journal


def _current(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:  # a flush begins one before it calls anybody
        raise StorageError("A file was stored or replaced outside a transaction")
    return transaction


def _effective(transaction: SessionTransaction) -> SessionTransaction:
    # A flush runs in a subtransaction, which has no end of its own as far as the database is concerned.
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


class JournalCustody:
    """Remembers in the session what its transactions did, and undoes or finishes it when they end."""

    def __init__(self, session: Session) -> None:
        """Look after files of `session`."""
        self._session = session

    def store(self, file: FileObject) -> None:
        """Store, and delete if the transaction rolls back."""
        file.prepare_key()
        store_for(journal_of(self._session), self._session, file)

    def expect(self, file: FileObject) -> None:
        """Take what a client's reference names; other files are the program's own business.

        Before the row is locked or written: of two processes that were sent the same reference, the store tells one.
        """
        if file.referred in {Referred.FREE, Referred.KEPT}:
            journal_of(self._session).take(self._session, file)

    def link_first(self, gained: Sequence[FileObject], lost: Sequence[FileObject], kept: set[FileObject]) -> bool:
        """Do nothing: nobody but rows knows who holds what."""
        del gained, lost, kept
        return False

    def settle(self, gained: Sequence[FileObject], lost: Sequence[FileObject]) -> None:
        """Delete `lost` after the commit.

        Raises:
            ConflictError: If two rows would hold one file.
        """
        journal = journal_of(self._session)
        check_distinct(gained)
        for file in set(gained).difference(lost):
            if file.referred is not None:
                journal.check_free(file)
        # First what was given up, then what was taken: a file may move from one row to another.
        for file in lost:
            journal.doomed(self._session, file)
        for file in gained:
            journal.linked(self._session, file)


def check_distinct(files: Sequence[FileObject]) -> None:
    """Make sure that no file goes into two rows.

    Raises:
        ConflictError: If one does.
    """
    if len(set(files)) != len(files):
        raise ConflictError("One file was assigned to two rows; assign file.copy() to one of them")


def store_for(journal: Journal, session: Session, file: FileObject) -> None:
    """Store pending content, and have the journal delete it if the transaction rolls back."""
    pending, target = file.pending_content(), Target(file.backend, file.path)
    key_is_new = file.key_is_new
    try:
        call(file.put, file.put_async)
    except BaseException:
        # The store may have kept the object all the same: the answer was lost, or the task was cancelled too late.
        # What lies under a pinned key may be somebody else's.
        if key_is_new:
            journal.abandoned(target)
        raise
    journal.stored(session, file, pending)
