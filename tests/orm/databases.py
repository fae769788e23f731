"""One way to run a piece of work in a session, whatever the database and whether its driver is async."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

from litestar_filestore import FileObject, StorageBackend, StoredObject, storages
from litestar_filestore.ledger.sweep import sweep, sweep_async
from litestar_filestore.ledger.table import ledger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection, Engine

__all__ = ("AsyncDatabase", "Database", "SyncDatabase", "committed", "keys_in", "keys_in_rows", "open_database")

T = TypeVar("T")


class Database(Protocol):
    """A database with the tables of one declarative base."""

    base: type[DeclarativeBase]

    @property
    def engine(self) -> Engine:
        """The engine, for an async one the sync engine inside."""
        ...

    def run(self, work: Callable[[Session], T], *, bind: Any = None, **options: Any) -> T:
        """Run `work` in a new session and close it; a commit is the business of `work`."""
        ...

    def connect(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection outside of any session."""
        ...

    def settle(self) -> None:
        """Let everything take place that the application left for later."""
        ...

    def close(self) -> None:
        """Drop the tables and close all connections."""
        ...


class SyncDatabase:
    """A database behind a sync driver."""

    def __init__(self, url: str, base: type[DeclarativeBase], **options: Any) -> None:
        """Make the tables."""
        self.base = base
        self.engine = sa.create_engine(url, **options)
        _prepare(self.engine)
        base.metadata.create_all(self.engine)

    def run(self, work: Callable[[Session], T], *, bind: Any = None, **options: Any) -> T:
        """Run `work` in a `Session`."""
        with Session(bind or self.engine, **options) as session:
            return work(session)

    def connect(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection."""
        with self.engine.connect() as connection:
            return work(connection)

    def settle(self) -> None:
        """Sweep, where there is a ledger."""
        if (table := ledger_of(self.base.metadata)) is not None:
            _end_leases(self, table)
            sweep(self.engine, table, storages)

    def close(self) -> None:
        """Drop the tables."""
        self.base.metadata.drop_all(self.engine)
        self.engine.dispose()


class AsyncDatabase:
    """A database behind an async driver. The work is the same function, in the greenlet of an `AsyncSession`."""

    def __init__(self, url: str, base: type[DeclarativeBase], **options: Any) -> None:
        """Make the tables."""
        self.base = base
        self.runner = asyncio.Runner()
        self.async_engine: AsyncEngine = create_async_engine(url, **options)
        _prepare(self.engine)
        self.connect(committed(base.metadata.create_all))

    @property
    def engine(self) -> Engine:
        """The sync engine inside."""
        return self.async_engine.sync_engine

    def run(self, work: Callable[[Session], T], *, bind: Any = None, **options: Any) -> T:
        """Run `work` in an `AsyncSession`."""

        async def main() -> T:
            async with AsyncSession(bind or self.async_engine, **options) as session:
                return await session.run_sync(work)

        return self.runner.run(main())

    def connect(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection."""

        async def main() -> T:
            async with self.async_engine.connect() as connection:
                return await connection.run_sync(work)

        return self.runner.run(main())

    def settle(self) -> None:
        """Sweep, where there is a ledger."""
        if (table := ledger_of(self.base.metadata)) is not None:
            _end_leases(self, table)
            self.runner.run(sweep_async(self.async_engine, table, storages))

    def close(self) -> None:
        """Drop the tables."""
        self.connect(committed(self.base.metadata.drop_all))
        self.runner.run(self.async_engine.dispose())
        self.runner.close()


def open_database(url: str, base: type[DeclarativeBase], **options: Any) -> SyncDatabase | AsyncDatabase:
    """Open the database behind `url` and make the tables of `base` in it."""
    is_async = "aiosqlite" in url or "asyncpg" in url
    return AsyncDatabase(url, base, **options) if is_async else SyncDatabase(url, base, **options)


def keys_in_rows(db: Database) -> set[tuple[str, str]]:
    """Return backend and key of every file in every row."""

    def read(session: Session) -> set[tuple[str, str]]:
        return {
            (file.backend_key, file.path)
            for table in db.base.metadata.sorted_tables
            for column in table.c
            if isinstance(column.type, StoredObject)
            for value in session.scalars(sa.select(column))
            for file in _files(value)
        }

    return db.run(read)


def keys_in(backend: StorageBackend) -> set[tuple[str, str]]:
    """Return backend and key of every object in a backend."""
    return {(backend.key, info.key) for info in backend.list()}


def _files(value: Any) -> Iterator[FileObject]:
    if isinstance(value, FileObject):
        yield value
    yield from value if isinstance(value, list) else ()


def committed(work: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Return `work` with a commit behind it."""

    def run(connection: Connection) -> None:
        work(connection)
        connection.commit()

    return run


def _end_leases(db: Database, table: sa.Table) -> None:
    def end(connection: Connection) -> None:
        connection.execute(table.update().values(not_before=0))

    db.connect(committed(end))


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _check_foreign_keys)


def _check_foreign_keys(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
