"""Stores content before there is a row for it, and stages it in the ledger first, so that it never stays by accident.

This is the order for requests: stage and write while no transaction is open, then add the row. Uploads that arrive at
the same time share the ledger's transactions: while one commit is on its way to the disk, the next ones gather.

`FileObject.save` stages its object in the same way while an application looks after a ledger. A program that holds
SQLite's only write lock cannot stage at the same time: then a note records that there may be an object, as for sessions
(see `litestar_filestore.ledger.notes`).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from litestar_filestore.core.sources import LiveSource
from litestar_filestore.core.threads import finish, run_blocking, run_in_thread
from litestar_filestore.errors import (
    DatabaseUnavailableError,
    ObjectExistsError,
    StorageError,
)
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Facts, Ledger, ObjectKey
from litestar_filestore.ledger.line import Prepared
from litestar_filestore.ledger.notes import note
from litestar_filestore.ledger.outages import (
    explain_database_error,
    guard_database,
    is_locked,
    translate_database_error,
)
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.quota import ask_quota, asks_quota, owner_of_new_objects
from litestar_filestore.ledger.reserves import Kind, Reserves
from litestar_filestore.ledger.schemas import mark_saved, mark_staged
from litestar_filestore.ledger.staging import (
    give_back_at_end,
    in_time,
    line_of,
    owner_of_pool,
    run_beside,
    schema_map,
    staging_engine,
    sync_engine,
    transact,
)
from litestar_filestore.ledger.sweep import tell_doomed
from litestar_filestore.ledger.table import State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable, Sequence

    from sqlalchemy import Connection, Table

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import NewFile, UsedLink
    from litestar_filestore.core.types import AsyncDataLike
    from litestar_filestore.ledger.line import Line

__all__ = (
    "Intents",
    "intents_of",
    "leased",
    "leases_renewed",
    "saving",
    "saving_async",
    "store_async",
)

logger = logging.getLogger("litestar_filestore")

RETRY_SECONDS = 10.0
"""Pause after a failed renewal of leases, which last an hour."""
_TRIES = 2
"""On how many connections a transaction is tried. If a firewall has dropped idle connections, all of the pool are
silent; once the first one is shut, SQLAlchemy makes new ones."""
_WAIT_SECONDS = 12.0
"""How long an upload waits for its transaction: slightly longer than two connections that do not answer take."""
_LATE_SECONDS = 1.0
"""If a transaction takes longer, another one may start beside it."""
_WAYS = 4
"""Most transactions at a time; all but one of them are late."""
_MOST_AT_ONCE = 64
"""Most objects that one statement enters or removes; on a line, each number of them is a statement that is kept."""


class _Entry:
    """The work of one statement that waits for a shared transaction."""

    __slots__ = ("done", "intent", "is_left", "is_new", "staged", "work")

    def __init__(
        self,
        work: Callable[[Connection], Any],
        staged: ObjectKey | None = None,
        intent: _Intent | None = None,
    ) -> None:
        self.work = work
        self.staged = staged
        """The object that it stages."""
        self.intent = intent
        """The work, if it is nothing but to stage a new object."""
        self.is_left = False
        """Whether its upload no longer waits for it."""
        self.is_new = intent is not None
        """Whether its intent was never sent, so that it can be entered unseen, in one statement with others."""
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Retrieved, so that asyncio does not report the error of an upload that was cancelled while it waited.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())


class _Intent(NamedTuple):
    """A new object that is going to be written."""

    key: ObjectKey
    owner: str | None
    more: tuple[Kind, Callable[[], str]] | None
    """Its kind, and what makes keys of this kind, if others may be reserved with it."""


class _Reserved(NamedTuple):
    """New keys of one kind, whose intents are written ahead."""

    kind: Kind
    keys: list[ObjectKey]


_Outcomes: TypeAlias = "list[tuple[_Entry, Any, Exception | None]]"


class Intents:
    """Writes what uploads stage and record, several uploads to a transaction (group commit).

    While one transaction runs, the next one gathers. If one is late because its connection does not answer, it delays
    only its own uploads: others run beside it. It also ends early enough to refuse its uploads.
    """

    def __init__(self, engine: Engine | AsyncEngine, table: Table) -> None:
        """Write to `table` on a connection pool beside that of `engine`."""
        self._engine = sync_engine(engine)
        self._ledger = Ledger(table)
        self._waiting: list[_Entry] = []
        self._held: set[ObjectKey] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._running: set[object] = set()
        self._prompt: asyncio.Task[None] | None = None
        # SQLite has one writer, which waits for a lock and not for a server.
        self._ways = 1 if self._engine.dialect.name == "sqlite" else _WAYS
        self._line = line_of(self._engine)
        # A database in memory has only the connection of the application, which may be in a transaction.
        self._is_beside = staging_engine(self._engine) is not None
        self._staging: dict[int, Prepared] = {}
        """Statements that stage so many objects."""
        self._reserves = Reserves()

    async def stage(
        self,
        key: ObjectKey,
        *,
        unique: bool = True,
        link: UsedLink | None = None,
        more: tuple[Kind, Callable[[], str]] | None = None,
    ) -> None:
        """Stage an object that is going to be written, and use up its link; returns after the commit.

        If this raises, no entry stays, unless the database no longer answers.

        Args:
            key: The object.
            unique: Whether no one else can have made this key.
            link: The link that it comes through.
            more: The kind of the object, and what makes keys for others like it, whose intents may be written ahead.

        Raises:
            QuotaExceededError: If its owner may not store any more.
            DatabaseUnavailableError: If the database is away, or does not answer.
            sqlalchemy.exc.IntegrityError: If the key is taken, or the link was used before.
        """
        owner = owner_of_new_objects.get()
        is_plain = unique and link is None and not asks_quota(self._ledger.table, owner)
        intent = _Intent(key, owner, more if owner is None else None) if is_plain else None
        if intent is not None and not self._running and (line := self._open_line()) is not None:
            if await self._stage_alone(line, intent):
                return
            intent = None
        # A plain one was sent before, on the line or with others.
        made_at: float | None = 0.0 if is_plain else None

        def work(connection: Connection) -> None:
            nonlocal made_at
            # Not at the first attempt: if the answer to a COMMIT was lost, the entry may exist.
            found = self._ledger.staged_at(connection, key) if made_at is not None else None
            if found is None or not (unique or found == made_at):
                self._ledger.stage(connection, [key], owner=owner)
                made_at = 0.0 if unique else self._ledger.staged_at(connection, key)
                if link is not None:
                    self._ledger.use(connection, link)
            ask_quota(self._ledger, connection, owner)

        # Under a key that others can make, the entry may be theirs.
        await self._write(work, staged=key if unique else None, intent=intent)

    async def _stage_alone(self, line: Line, intent: _Intent) -> bool:
        """Stage a new object while no other upload does, without a task or a timer; return whether it worked.

        If it did not, because the database is locked, full or lacks the table, a transaction waits or says so.
        """
        self._running.add(intent)
        try:
            return await self._stage_on_line(line, [intent])
        finally:
            self._running.discard(intent)
            self._begin()

    async def _stage_on_line(self, line: Line, intents: Sequence[_Intent]) -> bool:
        entries = [(each.key, each.owner) for each in intents]
        if (reserved := self._to_reserve(intents)) is not None:
            entries += [(key, None) for key in reserved.keys]
        prepared = self._staging.get(len(entries))
        if prepared is None:
            statement = self._ledger.staging_of(len(entries))
            prepared = self._staging[len(entries)] = Prepared.of(statement, self._engine.dialect)
        values: dict[str, str | None] = {}
        for number, (key, owner) in enumerate(entries):
            values |= {f"backend{number}": key.backend, f"key{number}": key.key, f"owner{number}": owner}
        try:
            await line.run(prepared, values)
        except line.error:
            return False  # and nothing is changed
        except asyncio.CancelledError:
            # The statement may still be on its way. This one runs after it.
            await finish(self._forget_on_line(line, [key for key, _ in entries]))
            raise
        self._have_reserved(reserved)
        return True

    async def _forget_on_line(self, line: Line, keys: Sequence[ObjectKey]) -> None:
        with suppress(line.error):  # their leases run out
            await line.run(Prepared.of(self._ledger.forgetting(keys), self._engine.dialect), {})

    def _open_line(self) -> Line | None:
        if self._line is not None and self._line.is_over:
            self._line = line_of(self._engine)
        return self._line

    def take_reserved(self, kind: Kind) -> ObjectKey | None:
        """Return the key of a new object whose intent was written ahead; ``None`` if there is none."""
        if owner_of_new_objects.get() is not None:
            return None
        key = self._reserves.take(kind)
        return None if key is None else ObjectKey(kind.backend, key)

    def _to_reserve(self, intents: Sequence[_Intent]) -> _Reserved | None:
        """Return new keys to enter with these, so that the statement enters 2, 4, 8, 16, 32 or 64 in all."""
        if not self._is_beside or len(intents) >= _MOST_AT_ONCE:
            return None
        for intent in intents:
            if intent.more is not None and (wanted := self._reserves.wanted(intent.more[0])):
                kind, make = intent.more
                total = min(1 << (len(intents) + wanted - 1).bit_length(), _MOST_AT_ONCE)
                return _Reserved(kind, [ObjectKey(kind.backend, make()) for _ in range(total - len(intents))])
        return None

    def _have_reserved(self, reserved: _Reserved | None) -> None:
        """Let uploads take keys whose entries are committed."""
        if reserved is None:
            return
        reach("intent.reserved")
        self._reserves.add(reserved.kind, [key.key for key in reserved.keys])
        give_back_at_end(self._engine, self)

    def give_back(self, beside: Engine | None) -> None:
        """Use the reserved entries no more, and remove them."""
        keys = [ObjectKey(*each) for each in self._reserves.give_back()]
        if not keys or beside is None:
            return
        schemas = schema_map(self._engine)
        with beside.execution_options(schema_translate_map=schemas or None).begin() as connection:
            for start in range(0, len(keys), _MOST_AT_ONCE):
                self._ledger.forget(connection, keys[start : start + _MOST_AT_ONCE])

    async def forget(self, keys: Collection[ObjectKey]) -> None:
        """Remove staged objects that are not being written; see `forget`."""
        await self._write(lambda connection: self._ledger.forget(connection, keys))

    async def record(self, key: ObjectKey, facts: Facts) -> None:
        """Record what was written.

        Raises:
            LinkLostError: If the object was given up meanwhile; it will be deleted.
            QuotaExceededError: If it is more than its owner may store; it will be deleted.
        """
        owner = owner_of_new_objects.get()
        refusal: Exception | None = None

        def work(connection: Connection) -> None:
            nonlocal refusal
            if refusal is not None:  # the answer to the COMMIT was lost, and the entry may be doomed already
                self._ledger.abandon(connection, [key])
                return
            self._ledger.record(connection, key, facts)
            try:
                ask_quota(self._ledger, connection, owner)
            except Exception as error:  # noqa: BLE001  # raised below, when it is committed that nobody gets the object
                refusal = error
                self._ledger.abandon(connection, [key])

        await self._write(work)
        if refusal is not None:
            raise refusal

    def hold(self, key: ObjectKey) -> None:
        """Keep renewing the lease of a staged object until `let_go`; a row may take it meanwhile."""
        self._held.add(key)
        self._renew_later(LEASE_SECONDS / 3)

    async def let_go(self, keys: Iterable[ObjectKey]) -> None:
        """Stop renewing the leases of objects."""
        self._held.difference_update(keys)
        if not self._held and self._renewal is not None:
            # It holds a connection, and the event loop may end with the last upload.
            await asyncio.wait({self._renewal})

    def _renew_later(self, seconds: float) -> None:
        if self._timer is None and self._renewal is None and self._held:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_renewal)

    def _begin_renewal(self) -> None:
        # The timer outlives the uploads: a new one for each upload would cost more than one renewal too early.
        self._timer = None
        if self._held:
            self._renewal = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        wait = LEASE_SECONDS / 3
        held = list(self._held)
        try:
            await self._write(lambda connection: self._ledger.prolong(connection, held))
        except (SQLAlchemyError, StorageError, OSError) as error:
            # Nothing is lost yet. If it ever is, the upload gets an error when it is recorded or linked.
            wait = RETRY_SECONDS
            logger.warning("%d leases could not be renewed, trying again in %.0f s: %s", len(held), wait, error)
        finally:
            self._renewal = None
            self._renew_later(wait)

    async def abandon(self, keys: Collection[ObjectKey], states: Collection[State] = (State.STAGED,)) -> int:
        """Doom those objects that are in one of `states`, wake the sweepers, and return their number."""
        doomed = await self._write(lambda connection: self._ledger.abandon(connection, keys, states))
        if doomed:
            tell_doomed()
        return int(doomed)

    async def keep(self, key: ObjectKey, facts: Facts) -> None:
        """Keep an object although no row holds it; returns after the commit.

        Raises:
            LinkLostError: If the object was given up.
        """
        owner = owner_of_new_objects.get()

        def work(connection: Connection) -> None:
            self._ledger.keep(connection, key, facts, owner=owner)

        try:
            await self._write(work)
        except IntegrityError:
            # A transaction has entered it at the same moment. That is committed now, so its row keeps the object.
            await self._write(work)

    async def _write(
        self, work: Callable[[Connection], Any], staged: ObjectKey | None = None, intent: _Intent | None = None
    ) -> Any:
        entry = _Entry(work, staged, intent)
        self._waiting.append(entry)
        self._begin()
        try:
            await asyncio.wait({entry.done}, timeout=_WAIT_SECONDS)
        except asyncio.CancelledError:
            await finish(self._leave(entry))
            raise
        if not entry.done.done():
            self._give_up(entry)
            raise DatabaseUnavailableError("The database of the ledger does not answer in time; try again later")
        return entry.done.result()

    async def _leave(self, entry: _Entry) -> None:
        """Take back the request of a cancelled upload: drop it if it has not run yet, otherwise undo it."""
        if entry not in self._waiting:
            await asyncio.wait({entry.done}, timeout=_WAIT_SECONDS)
        self._give_up(entry)
        done = entry.done
        if entry.staged is not None and done.done() and not done.cancelled() and done.exception() is None:
            await self.forget([entry.staged])

    def _give_up(self, entry: _Entry) -> None:
        entry.is_left = True
        if entry in self._waiting:
            self._waiting.remove(entry)
            entry.done.cancel()

    def _begin(self) -> None:
        """Start a transaction for waiting work, unless another one is in time."""
        if not self._waiting or self._prompt is not None or len(self._running) >= self._ways:
            return
        batch, self._waiting = self._waiting, []
        task = self._prompt = asyncio.create_task(self._settle(batch))
        self._running.add(task)
        late = asyncio.get_running_loop().call_later(_LATE_SECONDS, self._is_late, task)
        task.add_done_callback(lambda ended: self._has_ended(ended, late))

    def _is_late(self, task: asyncio.Task[None]) -> None:
        if self._prompt is task:
            self._prompt = None
            self._begin()

    def _has_ended(self, task: asyncio.Task[None], late: asyncio.TimerHandle) -> None:
        late.cancel()
        self._running.discard(task)
        self._is_late(task)
        self._begin()

    async def _settle(self, batch: list[_Entry]) -> None:
        try:
            await self._try(batch)
        finally:
            for entry in batch:
                entry.done.cancel()  # no effect on those with a result; for the others the loop is ending

    async def _try(self, batch: list[_Entry]) -> None:
        for attempt in range(1, _TRIES + 1):
            outcomes: _Outcomes
            try:
                outcomes = await in_time(self._engine, partial(self._talk, batch))
            except TimeoutError as error:
                outcomes = [(entry, None, error) for entry in batch]
            # The others need not wait for those that are tried again: they get their results now.
            lost = {entry for entry, _, error in outcomes if error is not None and self._is_lost(error)}
            again = [entry for entry in lost if not entry.is_left] if attempt < _TRIES else []
            self._tell([each for each in outcomes if each[0] not in again])
            if not again:
                return
            # It is not known what was committed; all that is written here may safely be written twice.
            batch = again
            for entry in batch:
                entry.is_new = False

    async def _talk(self, batch: list[_Entry]) -> _Outcomes:
        intents = [entry.intent for entry in batch if entry.intent is not None and entry.is_new]
        line = self._open_line() if len(intents) == len(batch) <= _MOST_AT_ONCE else None
        if line is not None and await self._stage_on_line(line, intents):
            return [(entry, None, None) for entry in batch]
        # On the event loop, before and after: uploads take reserved keys there.
        reserved = self._to_reserve(intents)
        commit = partial(self._commit, batch, reserved)
        if self._engine.dialect.is_async:
            outcomes, is_shared = await greenlet_spawn(commit)
        else:
            outcomes, is_shared = await run_blocking(commit)
        self._have_reserved(reserved if is_shared else None)
        return outcomes

    def _tell(self, outcomes: _Outcomes) -> None:
        # Here and not in the worker thread: futures belong to the event loop.
        doubtful: list[ObjectKey] = []
        for entry, value, error in outcomes:
            if entry.staged is not None and (entry.is_left if error is None else self._is_lost(error)):
                doubtful.append(entry.staged)  # the entry may exist, and its object will not be written
            if error is None:
                entry.done.set_result(value)
            else:
                entry.done.set_exception(_explained(error))
        if doubtful:
            # Nothing waits for it. If this cannot be recorded either, its lease runs out.
            self._waiting.append(_Entry(lambda connection: self._ledger.forget(connection, doubtful)))
            self._begin()

    def _commit(self, batch: list[_Entry], reserved: _Reserved | None = None) -> tuple[_Outcomes, bool]:
        """Return what came of each, and whether it was one transaction, with the reserved keys."""
        try:
            values = self._write_together(batch, reserved)
        except Exception as error:  # noqa: BLE001  # raised again by every upload that waits for it
            if len(batch) == 1 or self._is_lost(error) or is_locked(error):
                return [(entry, None, error) for entry in batch], False
            # One of them makes the shared transaction fail: each gets its own.
            return [outcome for entry in batch for outcome in self._commit([entry])[0]], False
        return [(entry, value, None) for entry, value in zip(batch, values, strict=True)], True

    def _is_lost(self, error: Exception) -> bool:
        """Return whether the connection has failed, so that the outcome of its transaction is not known."""
        # SQLite has no connection that could fail; it is only locked.
        away = isinstance(translate_database_error(error), DatabaseUnavailableError)
        return away and self._engine.dialect.name != "sqlite"

    def _write_together(self, batch: list[_Entry], reserved: _Reserved | None) -> list[Any]:
        def write(connection: Connection) -> list[Any]:
            # Whoever has left while the connection was made, or was silent, wants nothing any more.
            intents = [entry.intent for entry in batch if entry.intent and entry.is_new and not entry.is_left]
            owners = {each.key: each.owner for each in intents}
            if reserved is not None:
                owners |= dict.fromkeys(reserved.keys)
            if owners:
                self._ledger.stage_all(connection, owners)
            return [None if entry.is_left or entry.is_new else entry.work(connection) for entry in batch]

        return transact(staging_engine(self._engine) or self._engine, write)


def _explained(error: Exception) -> Exception:
    explained = explain_database_error(error)
    if explained is not error:
        explained.__cause__ = error
    return explained


_Known: TypeAlias = "WeakKeyDictionary[Engine, dict[tuple[Table, frozenset[tuple[str | None, str | None]]], Intents]]"
_intents: WeakKeyDictionary[asyncio.AbstractEventLoop, _Known] = WeakKeyDictionary()


def intents_of(engine: Engine | AsyncEngine, table: Table) -> Intents:
    """Return the writer to a ledger on the running event loop; uploads that share it share its transactions."""
    loop = asyncio.get_running_loop()
    if (by_engine := _intents.get(loop)) is None:
        by_engine = _intents[loop] = WeakKeyDictionary()
    by_table = by_engine.setdefault(owner_of_pool(sync := sync_engine(engine)), {})
    place = table, frozenset(schema_map(sync).items())
    if (found := by_table.get(place)) is None:
        found = by_table[place] = Intents(engine, table)
    return found


async def store_async(
    engine: Engine | AsyncEngine,
    table: Table,
    backend: StorageBackend,
    source: AsyncDataLike,
    new: NewFile,
) -> FileObject:
    """Store content for a row that comes later, and return the file to assign to it.

    A file that no row takes within the lease of an hour is swept. If it cannot be stored, because of an error or a
    cancellation, it is given up at once.

    Args:
        engine: Database of the rows and their ledger.
        table: The ledger's table; see `ledger_of`.
        backend: Where to store.
        source: Content; see `StorageBackend.put_async`.
        new: Describes the new file.

    Raises:
        ObjectExistsError: If there is or was an object under the key of `new`.
        LinkLostError: If a quota was asked, and writing took so long that the object was given up. Otherwise the
            row learns it.
        LedgerMissingError: If the database has no ledger; nothing was written.
        DatabaseUnavailableError: If the database is away or busy.
        DatabaseFullError: If no space is left in the database.
        QuotaExceededError: If the owner may not store that much.
        StorageError: If the store fails.
    """
    file = new.with_content(backend, source)
    intents = intents_of(engine, table)
    kind = Kind(backend.key, file.key_template, file.key_ext)
    reserved = intents.take_reserved(kind) if new.key is None else None
    target = reserved or ObjectKey(backend.key, file.prepare_key())
    reach("intent.before")
    if reserved is not None:
        file.prepare_key(reserved.key)
    elif new.key is not None:
        await _claim(intents, backend, target, new.link)
    else:
        await intents.stage(target, more=(kind, partial(backend.make_key, kind.template, ext=kind.ext)))
    leases = _leases.get()
    intents.hold(target)
    try:
        reach("intent.after")
        await file.put_async(max_concurrency=new.max_concurrency)
        mark_staged(file, owner := owner_of_new_objects.get())
        reach("put.after")
        if asks_quota(table, owner):  # otherwise the link records it, in the transaction of the row
            await intents.record(target, Facts(file.size, file.checksum))
    except BaseException as error:
        await intents.let_go([target])
        await _give_up(intents, target, source, error)
        raise
    if leases is None:
        await intents.let_go([target])
    else:
        await leases.add(intents, target)
    return file


async def _claim(intents: Intents, backend: StorageBackend, key: ObjectKey, link: UsedLink | None) -> None:
    """Stage a key that others may have used; if this fails, the object under that key is theirs and stays."""
    what = (
        "There is or was an object of that key: choose another key"
        if link is None
        else "This link was used for an upload before: make another one"
    )
    taken = ObjectExistsError(what, operation="put", **key._asdict())
    if await backend.exists_async(key.key):
        raise taken
    try:
        await intents.stage(key, unique=False, link=link)
    except IntegrityError as error:
        raise taken from error


async def _give_up(intents: Intents, key: ObjectKey, source: AsyncDataLike, error: BaseException) -> None:
    """Give up an object that could not be completed, because the store may have it.

    If the content never reached its end, there is no object and never will be, because a put is atomic. Then the entry
    is removed: otherwise refused forms would fill the ledger with entries that stay for a day.
    """
    was_read = not isinstance(source, LiveSource) or source.has_ended
    with _noted_on(error):
        await finish(intents.abandon([key]) if was_read else intents.forget([key]))


@contextmanager
def _noted_on(error: BaseException) -> Generator[None]:
    """Add a note to `error` if the object could not be given up either."""
    try:
        yield
    except (SQLAlchemyError, StorageError) as second:
        error.add_note(f"The object could not be given up either, and will be when its lease runs out: {second}")


# -- files that the program itself stores


@contextmanager
def saving(database: Engine | AsyncEngine, table: Table, file: FileObject) -> Generator[None]:
    """Enter the object of a file, whose key is set, before the body writes it.

    Args:
        database: Where the ledger is. It may be one with an async driver.
        table: The ledger's table.
        file: The file that is going to be stored. If the body fails, it is given up.

    Raises:
        ObjectExistsError: If there is or was an object under its pinned key.
        LinkLostError: If a quota was asked, and writing took so long that the object was given up. Otherwise the
            row learns it.
        LedgerMissingError: If the database has no ledger; nothing was written.
        DatabaseUnavailableError: If the database is away.
        QuotaExceededError: If the owner may not store that much.
    """
    entry = _ByHand(database, table, file)
    if not file.key_is_new and file.backend.exists(entry.key.key):
        raise entry.taken()
    try:
        _run_beside(entry.engine, entry.enter)
        reach("intent.after")
        yield
        reach("put.after")
        _run_beside(entry.engine, entry.record)
    except BaseException as error:
        with _noted_on(error):
            _run_beside(entry.engine, entry.give_up)
        raise
    entry.mark()


@asynccontextmanager
async def saving_async(database: Engine | AsyncEngine, table: Table, file: FileObject) -> AsyncGenerator[None]:
    """`saving` without blocking the event loop."""
    entry = _ByHand(database, table, file)
    if not file.key_is_new and await file.backend.exists_async(entry.key.key):
        raise entry.taken()
    try:
        await _run_beside_async(entry.engine, entry.enter)
        reach("intent.after")
        async with leased(intents_of(database, table), entry.key):
            yield
            reach("put.after")
            await _run_beside_async(entry.engine, entry.record)
    except BaseException as error:
        with _noted_on(error):
            await _run_beside_async(entry.engine, entry.give_up)
        raise
    entry.mark()


class _ByHand:
    """The entry of one object that the program itself stores.

    Methods take the engine for transactions beside those of the application.
    """

    def __init__(self, database: Engine | AsyncEngine, table: Table, file: FileObject) -> None:
        self.engine = sync_engine(database)
        self.key = ObjectKey(file.backend_key, file.path)
        self._file = file
        self._ledger = Ledger(table)
        self._owner = owner_of_new_objects.get()
        self._is_staged = False

    def enter(self, beside: Engine) -> None:
        def stage(connection: Connection) -> None:
            self._ledger.stage(connection, [self.key], owner=self._owner)
            ask_quota(self._ledger, connection, self._owner)

        try:
            _write(beside, stage)
        except IntegrityError as error:
            raise self.taken() from error
        except DatabaseUnavailableError as error:
            if not is_locked(error):
                raise
            _write(beside, lambda connection: note(connection, self._ledger, self.key, beside=beside))
        else:
            self._is_staged = True

    def record(self, beside: Engine) -> None:
        """Let quotas see what was written. If another writer of SQLite prevents that, they see it with the row."""

        def record(connection: Connection) -> None:
            self._ledger.record(connection, self.key, Facts(self._file.size, self._file.checksum))
            ask_quota(self._ledger, connection, self._owner)

        if not self._is_staged or not asks_quota(self._ledger.table, self._owner):
            return
        try:
            _write(beside, record)
        except DatabaseUnavailableError as error:
            if not is_locked(error):
                raise

    def give_up(self, beside: Engine) -> None:
        """Doom the object, because the store may have it."""
        if self._is_staged:
            _write(beside, lambda connection: self._ledger.abandon(connection, [self.key]))

    def mark(self) -> None:
        """Let sessions know that there is an entry."""
        if self._is_staged:
            mark_saved(self._file, self._ledger.table, self.engine, self._owner)

    def taken(self) -> ObjectExistsError:
        return ObjectExistsError(
            "There is or was an object of that key: choose another key", operation="put", **self.key._asdict()
        )


def _write(beside: Engine, work: Callable[[Connection], object]) -> None:
    with guard_database():
        run_beside(beside, work)


def _run_beside(engine: Engine, work: Callable[[Engine], None]) -> None:
    beside = staging_engine(engine) or engine
    if in_greenlet() or not engine.dialect.is_async:
        work(beside)
        return
    # `save` without ``_async`` in an application with an async driver. Its connections belong to the event loop, which
    # may be blocked by this very call.
    main = partial(asyncio.run, _run_alone(beside, work))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        main()
    else:
        run_in_thread(main)


async def _run_alone(engine: Engine, work: Callable[[Engine], None]) -> None:
    """Run `work` with separate connections, on a separate event loop."""
    owner = owner_of_pool(engine)
    alone = Engine(owner.pool.recreate(), engine.dialect, engine.url)
    try:
        await greenlet_spawn(work, alone.execution_options(**engine.get_execution_options()))
    finally:
        await greenlet_spawn(alone.dispose)


async def _run_beside_async(engine: Engine, work: Callable[[Engine], None]) -> None:
    beside = staging_engine(engine) or engine
    if engine.dialect.is_async:
        await finish(greenlet_spawn(work, beside))
    else:
        await run_blocking(partial(work, beside))


# -- leases


class leases_renewed:  # noqa: N801  # reads as what it is, a context
    """Renew the leases of all that `store_async` stores in the body, and in its tasks, until the body ends."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: dict[Intents, list[ObjectKey]] | None = {}

    async def __aenter__(self) -> None:
        """Hold what is stored from now on."""
        self._token = _leases.set(self)

    async def __aexit__(self, *_: object) -> None:
        """Stop renewing the leases, because the request is over."""
        _leases.reset(self._token)
        held, self._held = self._held, None
        for intents, keys in (held or {}).items():
            await intents.let_go(keys)

    async def add(self, intents: Intents, key: ObjectKey) -> None:
        """Keep holding an object that is held already, unless the request is over: a task may outlive it."""
        if self._held is None:
            await intents.let_go([key])
        else:
            self._held.setdefault(intents, []).append(key)


_leases: ContextVar[leases_renewed | None] = ContextVar("litestar_filestore_leases", default=None)


@asynccontextmanager
async def leased(intents: Intents, key: ObjectKey) -> AsyncGenerator[None]:
    """Renew the lease of `key` while the body runs, and after its success while its request runs."""
    leases = _leases.get()
    intents.hold(key)
    try:
        yield
    except BaseException:
        await intents.let_go([key])
        raise
    if leases is None:
        await intents.let_go([key])
    else:
        await leases.add(intents, key)
