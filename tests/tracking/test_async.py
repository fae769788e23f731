"""What only an event loop can do to a transaction: stream, be cancelled anywhere, and end."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from litestar_filestore import FileObject, LocalBackend, StorageBackend, storages
from tests.orm.databases import AsyncDatabase, Database, keys_in, keys_in_rows
from tests.orm.models import BACKEND, Base, Document, a_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

MIB = 1024 * 1024

only_async = pytest.mark.parametrize("db", ["aiosqlite", "asyncpg"], indirect=True)


def _async(db: Database) -> AsyncDatabase:
    assert isinstance(db, AsyncDatabase)
    return db


class Block(bytearray):
    """A block that can be watched."""


class Blocks:
    """Yields blocks of 1 MiB and counts how many of them are alive at a time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.most = 0
        self._alive: list[weakref.ref[Block]] = []

    def __iter__(self) -> Iterator[Block]:
        for number in range(self.count):
            block = Block(bytes([number]) * MIB)
            self._alive = [each for each in self._alive if each() is not None]
            self._alive.append(weakref.ref(block))
            self.most = max(self.most, len(self._alive))
            yield block
            del block

    async def __aiter__(self) -> AsyncIterator[Block]:
        for block in self:
            yield block


@pytest.fixture
def on_disk(tmp_path: Path, backend: StorageBackend) -> Iterator[LocalBackend]:
    """A store on disk in place of the one in memory, for contents that shall not be in memory."""
    local = LocalBackend(BACKEND, tmp_path / "store")
    storages.register_backend(local)
    yield local
    local.close()
    storages.register_backend(backend)


async def test_64_mib_from_an_async_generator_stream(on_disk: LocalBackend, tmp_path: Path) -> None:
    """Content assigned to a model passes through: a block is asked for when the one before was written."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    blocks = Blocks(64)
    async with AsyncSession(engine) as session:
        session.add(document := Document(id=1, file=FileObject(BACKEND, "large.bin", content=aiter(blocks))))
        await session.commit()
        await session.refresh(document)
        assert document.file is not None
        assert document.file.size == 64 * MIB
        start = 63 * MIB
        assert [block async for block in document.file.stream_async(start, start + 2)] == [bytes([63, 63])]
    assert blocks.most <= 4
    await engine.dispose()


@only_async
def test_loop_that_ends_right_after_the_commit_loses_nothing(db: Database, backend: StorageBackend) -> None:
    """Nothing is left to a task that runs later."""
    database = _async(db)

    async def main() -> None:
        session = AsyncSession(database.async_engine)
        session.add(Document(id=1, file=a_file()))
        await session.commit()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await session.close()

    database.runner.run(main())
    assert len(keys_in_rows(db)) == 1


@only_async
def test_cancellation_while_content_arrives_changes_nothing(db: Database, backend: StorageBackend) -> None:
    """A client that goes away in the middle of an upload leaves neither row nor bytes."""
    database = _async(db)

    async def main() -> None:
        arriving = asyncio.Event()

        async def content() -> AsyncIterator[bytes]:
            yield b"some"
            arriving.set()
            await asyncio.Event().wait()

        async def upload() -> None:
            async with AsyncSession(database.async_engine) as session:
                session.add(Document(id=1, file=a_file()))
                session.add(Document(id=2, file=FileObject(BACKEND, "a.txt", content=content())))
                await session.commit()

        task = asyncio.create_task(upload())
        await arriving.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    database.runner.run(main())
    assert keys_in_rows(db) == set()


# Not on aiosqlite: under SQLAlchemy 2.1.9 a task cancelled during a statement leaves a connection behind that keeps the
# write lock, with or without files.
@pytest.mark.timeout(300)  # one transaction for each step, and a busy machine takes more steps
@pytest.mark.parametrize("db", ["asyncpg"], indirect=True)
def test_cancellation_at_any_moment_never_leaves_a_row_without_bytes(
    db: Database, backend: StorageBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Cancelled after each number of steps of the loop: rows have their objects; what else stays is in the log."""
    database = _async(db)

    async def replace(number: int) -> None:
        async with AsyncSession(database.async_engine) as session:
            session.add(Document(file=a_file()))
            (await session.get_one(Document, 1)).file = a_file(b"%d" % number)
            await session.commit()

    async def cancelled_after(steps: int) -> bool:
        task = asyncio.create_task(replace(steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    db.run(_insert)
    steps, completed = 0, 0
    while completed < 3:
        completed += not database.runner.run(cancelled_after(steps))
        steps += 1
        rows = keys_in_rows(db)
        assert rows <= keys_in(backend)
        db.settle()
        for _, key in keys_in(backend) - rows:
            assert key in caplog.text
            backend.delete(key)


def _insert(session: Session) -> None:
    session.add(Document(id=1, file=a_file()))
    session.commit()
