"""Files that the program stores by itself, with `FileObject.save`, while an application looks after a ledger.

Their object is staged like an upload, and becomes a row's, is kept, or is swept when its lease runs out. A program that
holds SQLite's only write lock itself cannot stage beside that: then a note says that there may be an object, as it does
for sessions (see `litestar_filestore.ledger.notes`).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from litestar_filestore.core.threads import finish, run_blocking, run_in_thread
from litestar_filestore.errors import DatabaseUnavailableError, ObjectExistsError
from litestar_filestore.ledger.intents import intents_of, leased, noted_on
from litestar_filestore.ledger.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.ledger.notes import note
from litestar_filestore.ledger.outages import guard_database, is_locked
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.quota import ask_quota, owner_of_new_objects
from litestar_filestore.ledger.schemas import mark_saved
from litestar_filestore.ledger.staging import owner_of_pool, run_beside, staging_engine, sync_engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from sqlalchemy import Connection, Table

    from litestar_filestore.core.file_object import FileObject

__all__ = (
    "saving",
    "saving_async",
)


@contextmanager
def saving(database: Engine | AsyncEngine, table: Table, file: FileObject) -> Generator[None]:
    """Enter the object of a file, which has its key, before the body writes it.

    Args:
        database: Where the ledger is. It may be one with an async driver.
        table: The ledger's table.
        file: What is going to be stored. If the body fails, it is given up.

    Raises:
        ObjectExistsError: If there is or was an object under its pinned key.
        LinkLostError: If writing took so long that the object was given up.
        LedgerMissingError: If the database has no ledger; nothing was written.
        DatabaseUnavailableError: If the database is away.
        QuotaExceededError: If the owner may not store that much.
    """
    entry = _Entry(database, table, file)
    if not file.key_is_new and file.backend.exists(entry.key.key):
        raise entry.taken()
    try:
        _run(entry.engine, entry.enter)
        reach("intent.after")
        yield
        reach("put.after")
        _run(entry.engine, entry.record)
    except BaseException as error:
        with noted_on(error):
            _run(entry.engine, entry.give_up)
        raise
    entry.mark()


@asynccontextmanager
async def saving_async(database: Engine | AsyncEngine, table: Table, file: FileObject) -> AsyncGenerator[None]:
    """`saving` without blocking the event loop."""
    entry = _Entry(database, table, file)
    if not file.key_is_new and await file.backend.exists_async(entry.key.key):
        raise entry.taken()
    try:
        await _run_async(entry.engine, entry.enter)
        reach("intent.after")
        async with leased(intents_of(database, table), entry.key):
            yield
            reach("put.after")
            await _run_async(entry.engine, entry.record)
    except BaseException as error:
        with noted_on(error):
            await _run_async(entry.engine, entry.give_up)
        raise
    entry.mark()


class _Entry:
    """The entry of one object. Methods take the engine for transactions beside those of the application."""

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
        """Note what was written. What another writer of SQLite keeps from that is noted with the row."""

        def record(connection: Connection) -> None:
            self._ledger.record(connection, self.key, Facts(self._file.size, self._file.checksum))
            ask_quota(self._ledger, connection, self._owner)

        if not self._is_staged:
            return
        try:
            _write(beside, record)
        except DatabaseUnavailableError as error:
            if not is_locked(error):
                raise

    def give_up(self, beside: Engine) -> None:
        """Doom the object: whether the store has it is not known."""
        if self._is_staged:
            _write(beside, lambda connection: self._ledger.abandon(connection, [self.key]))

    def mark(self) -> None:
        """Let sessions know that there is an entry."""
        if self._is_staged:
            mark_saved(self._file, self._ledger.table, self.engine, self._owner)

    def taken(self) -> ObjectExistsError:
        return ObjectExistsError("There is or was an object of that key", operation="put", **self.key._asdict())


def _write(beside: Engine, work: Callable[[Connection], object]) -> None:
    with guard_database():
        run_beside(beside, work)


def _run(engine: Engine, work: Callable[[Engine], None]) -> None:
    beside = staging_engine(engine) or engine
    if in_greenlet() or not engine.dialect.is_async:
        work(beside)
        return
    # `save` without ``_async`` in an application with an async driver. Its connections belong to the event loop, which
    # may be the one that waits for us.
    main = partial(asyncio.run, _run_alone(beside, work))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        main()
    else:
        run_in_thread(main)


async def _run_alone(engine: Engine, work: Callable[[Engine], None]) -> None:
    """Run `work` with connections of its own, on an event loop of its own."""
    owner = owner_of_pool(engine)
    alone = Engine(owner.pool.recreate(), engine.dialect, engine.url)
    try:
        await greenlet_spawn(work, alone.execution_options(**engine.get_execution_options()))
    finally:
        await greenlet_spawn(alone.dispose)


async def _run_async(engine: Engine, work: Callable[[Engine], None]) -> None:
    beside = staging_engine(engine) or engine
    if engine.dialect.is_async:
        await finish(greenlet_spawn(work, beside))
    else:
        await run_blocking(partial(work, beside))
