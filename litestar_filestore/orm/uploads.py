"""Storing content before there is a row for it: staged in the ledger first, so that it never stays by accident.

This is the order for requests: stage and write while no transaction is open, then add the row. Uploads that come in at
the same time share the ledger's transactions: while one commit is on its way to the disk, the next ones gather.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.threads import finish
from litestar_filestore.errors import LinkLostError
from litestar_filestore.orm.ledger import LEASE_SECONDS, Facts, Ledger, ObjectKey
from litestar_filestore.orm.ledger_table import explain
from litestar_filestore.orm.owner import owner_of_new_objects
from litestar_filestore.orm.points import reach
from litestar_filestore.orm.staging import is_locked, staging_engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import AsyncDataLike

__all__ = ("Intents", "store_async")

_ATTEMPTS = 25
"""To get SQLite's write lock; about 5 seconds, as long as sqlite3 itself waits."""


class _Entry:
    """One statement's worth of work that waits for a shared transaction."""

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[Connection], None]) -> None:
        self.work = work
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Looked at, so that asyncio does not complain of the error of an upload that was cancelled while it waited.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())


class Intents:
    """Writes what uploads stage and record, several uploads to a transaction (group commit).

    There is no background task: whoever comes first writes for all who came meanwhile, and then the next one does.
    """

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        """Write to `table` on a connection pool beside that of `engine`."""
        self._engine = engine
        self._ledger = Ledger(table)
        self._waiting: list[_Entry] = []
        self._lock = asyncio.Lock()

    async def stage(self, key: ObjectKey) -> None:
        """Say that an object is going to be written; returns when that is committed."""
        owner = owner_of_new_objects.get()
        await self._write(lambda connection: self._ledger.stage(connection, [key], owner=owner))

    async def record(self, key: ObjectKey, facts: Facts) -> None:
        """Note what was written.

        Raises:
            LinkLostError: If the object was given up meanwhile; it will be deleted.
        """
        await self._write(lambda connection: self._ledger.record(connection, {key: facts}))

    async def renew(self, key: ObjectKey) -> None:
        """Begin the lease of an upload that takes long anew.

        Raises:
            LinkLostError: If the object was given up meanwhile.
        """
        await self._write(lambda connection: self._ledger.renew(connection, [key]))

    async def _write(self, work: Callable[[Connection], None]) -> None:
        entry = _Entry(work)
        self._waiting.append(entry)
        async with self._lock:
            if not entry.done.done():
                batch, self._waiting = self._waiting, []
                await finish(greenlet_spawn(self._commit, batch))
        entry.done.result()

    def _commit(self, batch: list[_Entry]) -> None:
        try:
            self._write_together(batch)
        except Exception as error:  # noqa: BLE001  # raised again by every upload that waits for it
            if len(batch) == 1 or (isinstance(error, OperationalError) and is_locked(error)):
                for entry in batch:
                    entry.done.set_exception(_explained(error))
                return
            # One of them spoils the transaction of all: each gets its own.
            for entry in batch:
                self._commit([entry])
            return
        for entry in batch:
            entry.done.set_result(None)

    def _write_together(self, batch: list[_Entry]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                with self._pool().begin() as connection:
                    for entry in batch:
                        entry.work(connection)
                    return
            except OperationalError as error:
                # The staging connection waits shortly, for the sake of sessions that write; uploads hold up nobody.
                if not is_locked(error) or attempt == _ATTEMPTS - 1:
                    raise

    def _pool(self) -> Engine:
        return staging_engine(self._engine.sync_engine) or self._engine.sync_engine


def _explained(error: Exception) -> Exception:
    if not isinstance(error, (OperationalError, ProgrammingError)):
        return error
    explained = explain(error)
    if explained is not error:
        explained.__cause__ = error
    return explained


_intents: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, int], Intents]] = WeakKeyDictionary()


def _intents_of(engine: AsyncEngine, table: Table) -> Intents:
    by_engine = _intents.setdefault(asyncio.get_running_loop(), {})
    return by_engine.setdefault((id(engine.sync_engine), id(table)), Intents(engine, table))


async def store_async(
    engine: AsyncEngine,
    table: Table,
    backend: StorageBackend,
    source: AsyncDataLike,
    *,
    filename: str,
    content_type: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    key_template: str | None = None,
) -> FileObject:
    """Store content for a row that comes later, and return the file to assign to it.

    A file that no row takes within the lease of an hour is swept.

    Args:
        engine: Database of the rows and their ledger.
        table: The ledger's table; see `ledger_of`.
        backend: Where to store.
        source: Content; see `StorageBackend.put_async`.
        filename: Name for people.
        content_type: Media type; ``None`` guesses by `filename`.
        metadata: User metadata.
        key_template: Where to put it instead of the backend's template.

    Raises:
        LinkLostError: If writing took so long that the object was given up.
        LedgerMissingError: If the database has no ledger; nothing was written.
        StorageError: If the store fails. The key is swept later, whatever was written.
    """
    file = FileObject(backend, filename, content_type=content_type, metadata=metadata, content=source)
    file.key_template = key_template
    key = ObjectKey(backend.key, file.prepare_key())
    intents = _intents_of(engine, table)
    await intents.stage(key)
    reach("intent.after")
    async with _leased(intents, key):
        await file.save_async()
    reach("put.after")
    await intents.record(key, Facts(file.size, file.checksum))
    return file


@asynccontextmanager
async def _leased(intents: Intents, key: ObjectKey) -> AsyncGenerator[None]:
    """Renew the lease of `key` while the body runs, three times as often as it would run out."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await intents.renew(key)

    renewal = asyncio.create_task(keep())
    try:
        yield
    finally:
        renewal.cancel()
        await asyncio.wait({renewal})
        if (
            not renewal.cancelled()
            and (error := renewal.exception()) is not None
            and not isinstance(
                error,
                LinkLostError,  # recording the object will find out
            )
        ):
            raise error
