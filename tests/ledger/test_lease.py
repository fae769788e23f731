"""Uploads that take longer than a lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import LinkLostError
from litestar_filestore.ledger import intents as uploads
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepResult
from litestar_filestore.ledger.table import State
from tests.ledger.models import Document, content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from litestar_filestore import FileObject
    from litestar_filestore.core.types import AsyncDataLike

PATIENCE = 30.0
OFTEN = 0.03


@pytest.fixture
async def engine(world: World, url: str) -> AsyncIterator[AsyncEngine]:
    """The database of `world` behind an async driver."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


class Renewals:
    """Waits until leases were renewed, by looking at the commits of the ledger's own connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        beside = staging_engine(engine.sync_engine)
        assert beside is not None
        self.beside = beside
        self._renewed = asyncio.Event()
        self.refusals = 0
        event.listen(beside, "commit", lambda _connection: self._renewed.set())
        event.listen(beside, "before_cursor_execute", self._refuse)

    async def wait(self) -> None:
        """Wait for two: the first may have been on its way."""
        for _ in range(2):
            self._renewed.clear()
            await asyncio.wait_for(self._renewed.wait(), PATIENCE)

    def _refuse(self, _connection: object, _cursor: object, sql: str, *_: object) -> None:
        if self.refusals and sql.startswith("UPDATE"):
            self.refusals -= 1
            raise OperationalError(sql, {}, ConnectionError("the database is away"))


@pytest.fixture
def renewals(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Renewals:
    """Leases are renewed often; each renewal is still for the whole lease."""
    monkeypatch.setattr(uploads, "LEASE_SECONDS", OFTEN)
    monkeypatch.setattr(uploads, "RETRY_SECONDS", OFTEN)
    return Renewals(engine)


async def store(engine: AsyncEngine, world: World, tag: str, source: AsyncDataLike | None = None) -> FileObject:
    """Store one file."""
    new = NewFile(filename=f"{tag}.txt")
    return await uploads.store_async(engine, LEDGER, world.backend, source or content_of(tag), new)


async def test_lease_is_renewed_during_an_upload(world: World, engine: AsyncEngine, renewals: Renewals) -> None:
    """An upload that takes longer than its lease is not given up, as the lease is renewed meanwhile."""

    async def slowly() -> AsyncIterator[bytes]:
        yield content_of("new")[:1]
        for _ in range(3):
            await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
            await renewals.wait()
            assert await asyncio.to_thread(world.sweep) == SweepResult()
        yield content_of("new")[1:]

    await store(engine, world, "new", slowly())
    assert list(world.snapshot().states.values()) == [State.STAGED]
    assert [info.size for info in world.backend.list()] == [len(content_of("new"))]


async def test_all_leases_of_a_request_are_renewed(world: World, engine: AsyncEngine, renewals: Renewals) -> None:
    """The first file of a form is there still when the last one has arrived, and when the handler is done."""
    async with uploads.leases_renewed():
        first = await store(engine, world, "first")
        second = await asyncio.create_task(store(engine, world, "second"))
        for _ in range(3):
            await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
            await renewals.wait()
            assert await asyncio.to_thread(world.sweep) == SweepResult()
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=first))
            await session.commit()
        await renewals.wait()  # with one that a row has
        async with AsyncSession(engine) as session:
            session.add(Document(id=2, file=second))
            await session.commit()
    assert world.contents() == {1: ("first", ()), 2: ("second", ())}


async def test_lease_after_a_request(world: World, engine: AsyncEngine, renewals: Renewals) -> None:
    """Nothing is renewed when the request is over, or where there is none; what a task stores later is not either."""
    late = asyncio.Event()

    async def store_late() -> None:
        await late.wait()
        await store(engine, world, "late")

    await store(engine, world, "alone")
    async with uploads.leases_renewed():
        await store(engine, world, "new")
        task = asyncio.create_task(store_late())
        await asyncio.sleep(0)
    late.set()
    await task
    commits: list[object] = []
    event.listen(renewals.beside, "commit", commits.append)
    await asyncio.to_thread(world.pass_time)
    assert (await asyncio.to_thread(world.sweep)).deleted == 3
    assert commits == []


async def test_failed_renewals(
    world: World, engine: AsyncEngine, renewals: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that is away for a while ends no upload: the leases are renewed when it is back."""

    async def slowly() -> AsyncIterator[bytes]:
        yield content_of("new")[:1]
        await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
        renewals.refusals = 3
        await renewals.wait()
        await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
        assert await asyncio.to_thread(world.sweep) == SweepResult()
        yield content_of("new")[1:]

    await store(engine, world, "new", slowly())
    assert renewals.refusals == 0
    assert "1 leases could not be renewed, trying again" in caplog.text
    assert list(world.snapshot().states.values()) == [State.STAGED]


async def test_lease_that_is_lost(world: World, engine: AsyncEngine, renewals: Renewals) -> None:
    """An upload whose object was given up in spite of it all gets no row."""

    async def slowly() -> AsyncIterator[bytes]:
        yield content_of("new")[:1]
        renewals.refusals = 10**6
        deleted = 0
        while not deleted:  # a renewal may have been on its way
            await asyncio.to_thread(world.pass_time)
            deleted = (await asyncio.to_thread(world.sweep)).deleted
        renewals.refusals = 0
        yield content_of("new")[1:]

    file = await store(engine, world, "new", slowly())
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=file))
        with pytest.raises(LinkLostError, match="given up before its row was written"):
            await session.commit()
