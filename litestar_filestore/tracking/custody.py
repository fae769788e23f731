"""Looks after the objects of a session: by the ledger if the database has one, otherwise by the session's journal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import Table
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from litestar_filestore.core.file_object import Referred
from litestar_filestore.core.watching import watchers
from litestar_filestore.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidArgumentError,
    LinkLostError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from litestar_filestore.ledger.ledger import BELONGS_TO_ANOTHER_ROW, Facts, Ledger, ObjectKey
from litestar_filestore.ledger.notes import note, write_notes
from litestar_filestore.ledger.outages import guard_database, is_locked
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.quota import ask_quota, owner_of_new_objects
from litestar_filestore.ledger.schemas import (
    check_expected,
    check_not_elsewhere,
    check_same_table,
    forget_staged,
    has_owner,
    mark_staged,
    table_id,
    was_saved_for,
    was_staged,
)
from litestar_filestore.ledger.staging import can_stage_beside, run_beside, staging_engine
from litestar_filestore.ledger.table import State, explain, ledger_of
from litestar_filestore.orm.bridge import call
from litestar_filestore.orm.columns import check_backends, files_in
from litestar_filestore.orm.rows import writing_bind
from litestar_filestore.tracking import holds
from litestar_filestore.tracking.checks import check_content, check_count
from litestar_filestore.tracking.deletes import Target
from litestar_filestore.tracking.journal import journal_of
from litestar_filestore.tracking.marks import is_taken
from litestar_filestore.tracking.transactions import join

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection
    from sqlalchemy.orm import Mapper, Session

    from litestar_filestore.core.file_object import FileObject, PendingContent
    from litestar_filestore.orm.columns import FileColumn

__all__ = (
    "Custody",
    "custody_of",
    "store_pending",
)

_KNOWN = "litestar_filestore.custodies"


def custody_of(session: Session, mapper: Mapper[Any]) -> Custody:
    """Return the custody of a mapped class's files, which classes with the same ledger share.

    From now on the session is followed until it ends, so call this before the first file is stored or row is locked.

    Raises:
        LedgerError: If each statement of the session commits itself.
    """
    bind = writing_bind(session, mapper)
    connection = session.connection(bind_arguments={"bind": bind})
    join(session, connection)
    local = mapper.local_table
    table = ledger_of(local.metadata) if isinstance(local, Table) else None
    known: dict[Any, Custody] = session.info.setdefault(_KNOWN, {})
    place = (table, id(bind)) if table is not None else None
    if (found := known.get(place)) is None:
        found = JournalCustody(session) if table is None else LedgerCustody(session, bind, Ledger(table))
        known[place] = found
    if isinstance(found, LedgerCustody):
        found.connection = connection
    return found


def store_pending(custody: Custody, column: FileColumn, value: Any) -> None:
    """Store the pending content of the file or files that a row is going to have in a column.

    Raises:
        FileRejectedError: If there are too many, or a rule of the column refuses one.
        InvalidArgumentError: If one is in another backend than the column's.
    """
    files = files_in(value)
    if column.type.multiple:
        check_count(column, len(files))
    for file in files:
        if file.has_pending_data:
            check_backends([column], {column.key: file}, ())
            check_content(column, file)
            file.key_template = column.type.key_template_for(file)
            custody.store(file)
            file.passed_rules = column.type.rules


class JournalCustody:
    """Remembers in the session what its transactions did to objects, and undoes or completes it when they end."""

    def __init__(self, session: Session) -> None:
        """Look after files of `session`."""
        self._session = session

    def store(self, file: FileObject) -> None:
        """Store content, and delete it if the transaction rolls back."""
        file.prepare_key()
        journal_of(self._session).store(self._session, file)

    def expect(self, file: FileObject) -> None:
        """Take the file that a client's reference names; the program itself is responsible for other files.

        This happens before the row is locked or written: if two processes get the same reference, the store refuses one
        of them.
        """
        if file.referred in {Referred.FREE, Referred.KEPT}:
            journal_of(self._session).take(self._session, file)

    def settle(self, gained: Sequence[FileObject], lost: Sequence[FileObject]) -> None:
        """Delete `lost` after the commit.

        Raises:
            ConflictError: If two rows would hold one file.
        """
        journal = journal_of(self._session)
        _check_distinct(gained)
        for file in set(gained).difference(lost):
            if file.referred is not None:
                journal.check_free(file)
        # First the files given up, then the files taken: a file may move from one row to another.
        for file in lost:
            journal.doomed(self._session, file)
        for file in gained:
            journal.linked(self._session, file)
        if watchers:
            journal.changed(self._session, gained, lost)


class LedgerCustody:
    """Writes every step to the ledger in the same database."""

    connection: Connection
    """The connection of the session's current transaction, set by `custody_of`."""

    def __init__(self, session: Session, bind: Engine | Connection, ledger: Ledger) -> None:
        """Look after files whose rows `session` writes to `bind`."""
        self._session = session
        # A session bound to a connection joins a transaction that may even have created the tables.
        self._engine = bind if isinstance(bind, Engine) else None
        self._ledger = ledger
        self._staged: dict[ObjectKey, tuple[FileObject, PendingContent]] = {}
        self._unstaged: set[ObjectKey] = set()

    def store(self, file: FileObject) -> None:
        """Stage, then store. If nothing can be staged, use a note, and let the journal handle a rollback."""
        key, pending = ObjectKey(file.backend_key, file.prepare_key()), file.pending_content()
        if not file.key_is_new and call(
            partial(file.backend.exists, key.key), partial(file.backend.exists_async, key.key)
        ):
            raise _taken(key)  # before we make an entry, because of which a sweep would delete another writer's object
        if not self._stage(key):
            self._unstaged.add(key)
            if self._engine is not None:
                note(self.connection, self._ledger, key, beside=self._staging_engine())
            journal_of(self._session).store(self._session, file)
            return
        reach("intent.after")
        call(file.put, file.put_async)
        self._staged[key] = file, pending
        mark_staged(file, owner_of_new_objects.get())
        reach("put.after")

    def expect(self, file: FileObject) -> None:
        """Note files that the program has stored without an application, which would be unknown if no row took them."""
        key, engine = _key(file), self._engine
        if not file.is_made_here or engine is None or key in self._unstaged or key in self._staged:
            return
        if not was_staged(file):
            check_expected(file, self._ledger.table, self.connection, engine)
            note(self.connection, self._ledger, key, beside=self._staging_engine())
        elif (
            was_saved_for(file, self._ledger.table, self.connection, engine)
            and key not in self._ledger.states(self.connection, [key])
            # Stored after the snapshot of this transaction. Uploads are older, because forms are read before.
            and self._withdraw([key])
        ):
            forget_staged(file)

    def _staging_engine(self) -> Engine | None:
        return None if self._engine is None else staging_engine(self._engine, self.connection)

    def _stage(self, key: ObjectKey) -> bool:
        reach("intent.before")
        engine = self._staging_engine()
        if engine is None or not can_stage_beside(self.connection):
            return False
        owner = owner_of_new_objects.get()

        def write(connection: Connection) -> None:
            self._ledger.stage(connection, [key], owner=owner)
            ask_quota(self._ledger, connection, owner)

        try:
            with guard_database():
                run_beside(engine, write)
        except IntegrityError as error:
            # Only a pinned key can have been used before. Its entry stays for a while after the object is gone.
            raise _taken(key) from error
        except DatabaseUnavailableError as error:
            if is_locked(error):
                return False
            raise
        return True

    def settle(self, gained: Sequence[FileObject], lost: Sequence[FileObject]) -> None:
        """Turn staged objects into linked ones and linked ones into doomed ones.

        Raises:
            ConflictError: If an object belongs to another row, or another transaction took it out of this one.
            LinkLostError: If an object was given up before its row was written.
            QuotaExceededError: If the owner of new objects may not store that much.
        """
        _check_distinct(gained)
        # Taken from one row and given to another: it only moves.
        moved: Collection[FileObject] = set(gained) & set(lost) if lost else ()
        linked = [file for file in gained if file not in moved]
        doomed = [file for file in lost if file not in moved]
        try:
            stored = bool(linked) and self._link(linked)
            if doomed:
                self._doom(doomed)
            if stored:
                ask_quota(self._ledger, self.connection, owner_of_new_objects.get(), is_beside=False)
        except (OperationalError, ProgrammingError) as error:
            raise explain(error) from error
        if watchers:
            journal_of(self._session).changed(self._session, gained, lost)

    def _link(self, files: Sequence[FileObject]) -> bool:
        """Link the files, and return whether the quota has to be checked for any of them."""
        by_key = {_key(file): file for file in files}
        facts = {key: Facts(file.size, file.checksum) for key, file in by_key.items()}
        direct = {key: facts.pop(key) for key in self._unstaged & facts.keys()} if self._unstaged else {}
        self._unstaged.difference_update(direct)
        # Entered by another process: it may have no owner, for example if it came through a link without one.
        nobodys = not all(has_owner(by_key[key]) for key in facts)
        owner = owner_of_new_objects.get() if nobodys else None
        unknown = self._take(by_key, facts, owner)
        unseen = [key for key in unknown if key in self._staged]
        if others := [key for key in unknown if key not in unseen]:
            self._check_others({key: by_key[key] for key in others})
        self._take_back(unseen)
        own = [key for key in facts if self._staged.pop(key, None) is not None]
        for key, file in by_key.items():
            if key not in own and was_staged(file):
                journal_of(self._session).entered(self._session, file)
            if key in direct or holds.is_watched(Target(file.backend, key.key)):
                journal_of(self._session).linked(self._session, file)
        self._enter({**direct, **{key: facts[key] for key in unseen}}, _given_up)
        if others:
            made_here = {key for key in others if by_key[key].is_made_here}
            self._enter({key: facts[key] for key in others if key in made_here}, _taken_meanwhile)
            # The origin of these is unknown. A row from before the ledger may hold one too, and deleting that row would
            # delete it.
            self._enter({key: facts[key] for key in others if key not in made_here}, _taken_meanwhile, shared=True)
        reach("link.after")
        return bool(direct or own or owner is not None)

    def _check_others(self, files: Mapping[ObjectKey, FileObject]) -> None:
        """Make sure that the row may take files that this ledger does not know."""
        if self._engine is not None:
            check_not_elsewhere(self._ledger, list(files), self.connection, self._engine)
        for file in files.values():
            # Stored by the program itself, before the ledger knew it. A key that was swept long ago is unknown as well.
            if not call(file.exists, file.exists_async):
                raise _nothing_stored(file)
            if file.referred is Referred.FREE and is_taken(file):
                raise ConflictError(
                    "The application keeps this file, and the reference may not put it into a row: make one with "
                    "storages.reference_for(file, kept=True), or send the content again"
                )
            if was_staged(file):
                raise _taken_meanwhile()  # its own ledger would sweep it, or it is newer than our snapshot

    def _take(
        self, files: Mapping[ObjectKey, FileObject], facts: Mapping[ObjectKey, Facts], owner: str | None
    ) -> list[ObjectKey]:
        """Link the objects that the ledger knows, and return the others; references cannot take kept files."""
        ours = {key: each for key, each in facts.items() if files[key].referred in {None, Referred.KEPT}}
        unknown = self._ledger.link(self.connection, ours, owner=owner) if ours else []
        if len(ours) != len(facts):
            theirs = {key: each for key, each in facts.items() if key not in ours}
            unknown += self._ledger.link(self.connection, theirs, owner=owner, free=(State.STAGED,))
        return unknown

    def _take_back(self, keys: Sequence[ObjectKey]) -> None:
        """Turn intents that this transaction cannot see into notes.

        A transaction at REPEATABLE READ or SERIALIZABLE sees the database as it was when it began, before the intent.
        It cannot change that row, but it can enter the object itself once the row is gone.
        """
        if not self._withdraw(keys):
            return
        for key in keys:
            file, pending = self._staged[key]
            journal_of(self._session).stored(self._session, file, pending)
            journal_of(self._session).linked(self._session, file)

    def _withdraw(self, keys: Sequence[ObjectKey]) -> bool:
        """Turn intents into notes, and return whether this was done."""
        if not keys or (engine := self._staging_engine()) is None:
            return False
        table = table_id(self.connection, self._ledger.table)

        def write(connection: Connection) -> None:
            check_same_table(connection, self._ledger.table, table)
            self._ledger.withdraw(connection, keys)
            write_notes(self._ledger, keys, connection)

        with guard_database():
            run_beside(engine, write)
        reach("note.after")
        return True

    def _enter(
        self, facts: Mapping[ObjectKey, Facts], refusal: Callable[[], Exception], *, shared: bool = False
    ) -> None:
        if not facts:
            return
        try:
            if shared:
                self._ledger.insert(self.connection, facts, State.SHARED)
            else:
                self._ledger.insert(self.connection, facts, State.LINKED, owner=owner_of_new_objects.get())
        except IntegrityError as error:
            raise (ConflictError(BELONGS_TO_ANOTHER_ROW) if self._is_linked(facts) else refusal()) from error

    def _is_linked(self, keys: Iterable[ObjectKey]) -> bool:
        """Return whether this transaction has given one to another row, through another session."""
        if self.connection.dialect.name != "sqlite":
            return False  # on other databases they are staged, or the failed statement has ended the transaction
        return State.LINKED in self._ledger.states(self.connection, list(keys)).values()

    def _doom(self, files: Sequence[FileObject]) -> None:
        # Objects that the ledger does not know stay: they are older than it, and another row may hold them too.
        self._ledger.doom(self.connection, [_key(file) for file in files])
        journal_of(self._session).has_doomed = True
        reach("doom.after")


Custody: TypeAlias = LedgerCustody | JournalCustody
"""Stores content before rows are locked or written, then prepares for the files that rows are about to take, and
finally settles which files rows hold and which they gave up."""


def _check_distinct(files: Sequence[FileObject]) -> None:
    """Make sure that no file goes into two rows.

    Raises:
        ConflictError: If one does.
    """
    if len(files) > 1 and len(set(files)) != len(files):
        raise ConflictError("One file was assigned to two rows; assign file.copy() to one of them")


def _taken(key: ObjectKey) -> ObjectExistsError:
    return ObjectExistsError(
        "There is, or was until lately, an object of that key: choose another key", operation="put", **key._asdict()
    )


def _given_up() -> LinkLostError:
    return LinkLostError("The object was given up before its row was written; store the content again")


def _nothing_stored(file: FileObject) -> InvalidArgumentError | ObjectNotFoundError:
    if file.size is None and file.referred is None:  # a file that was stored or loaded before has a size
        return InvalidArgumentError(
            "The file of a row has neither content nor an object: give it content=, or save() it first",
            backend=file.backend_key,
            key=file.path,
        )
    return ObjectNotFoundError("The file has no object any more; store the content again", backend=file.backend_key)


def _taken_meanwhile() -> ConflictError:
    return ConflictError(
        "The file was stored or taken by another row after this transaction began to read, or it belongs to the "
        "ledger of another database or schema. Nothing was committed: store the file first, then begin a transaction "
        "in its own database"
    )


def _key(file: FileObject) -> ObjectKey:
    return ObjectKey(file.backend_key, file.path)
