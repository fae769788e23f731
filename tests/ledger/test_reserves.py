"""Intents that are written ahead, for uploads that come one after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from litestar_filestore import FileObject, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import LinkLostError
from litestar_filestore.ledger import reserves
from litestar_filestore.ledger.intents import intents_of, store_async
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Facts, ObjectKey
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.table import State
from tests.ledger.models import BACKEND, Document, content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, World
from tests.reservations import WINDOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        """Return the time, on both clocks."""
        return self.seconds

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the reserves."""
    clock = Clock()
    monkeypatch.setattr(reserves, "time", clock)
    monkeypatch.setattr(reserves, WINDOW, 1.0)
    return clock


@pytest.fixture
async def engine(world: World, url: str) -> AsyncIterator[AsyncEngine]:
    """The database of `world` behind an async driver."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


def count_commits(engine: AsyncEngine) -> list[None]:
    """Return what has an item for each transaction that is committed beside the application's from now on."""
    commits: list[None] = []
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    event.listen(beside, "commit", lambda _connection: commits.append(None))
    return commits


async def upload(engine: AsyncEngine, tag: str) -> FileObject:
    """Store one file."""
    return await store_async(engine, LEDGER, storages[BACKEND], content_of(tag), NewFile(filename=f"{tag}.txt"))


def entries(world: World) -> set[str]:
    """Return the keys that the ledger knows."""
    return {key.key for key in world.snapshot().states}


async def test_uploads_find_their_intents(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """Those of the last second bring as many for the next ones, which then change nothing before their row."""
    assert clock.seconds == 0
    first, second = [await upload(engine, tag) for tag in ("1", "2")]
    assert len(entries(world)) == 1 + 4
    third, fourth, fifth = [await upload(engine, tag) for tag in ("3", "4", "5")]
    files = [first, second, third, fourth, fifth]
    assert entries(world) == {file.path for file in files}
    await upload(engine, "6")
    assert len(entries(world)) == 5 + 8
    async with AsyncSession(engine) as session:
        session.add_all([Document(id=number, file=file) for number, file in enumerate(files, 1)])
        await session.commit()
    assert world.contents() == {number: (f"{number}", ()) for number in range(1, 6)}


async def test_uploads_at_the_same_time(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """Those that share transactions bring as many for the next ones, which then commit nothing."""
    assert clock.seconds == 0
    commits = count_commits(engine)
    files = await asyncio.gather(*(upload(engine, f"{number}") for number in range(8)))
    reserved = entries(world) - {file.path for file in files}
    assert len(reserved) >= 8
    committed = len(commits)
    files = await asyncio.gather(*(upload(engine, f"{number}") for number in range(8)))
    assert {file.path for file in files} <= reserved
    assert len(commits) == committed


async def test_transactions_that_fail_reserve_nothing(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """Uploads whose neighbour fails are entered one by one, and what was going to be reserved with them is not used."""
    assert clock.seconds == 0
    intents = intents_of(engine, LEDGER)
    lost = intents.record(ObjectKey(BACKEND, "never-staged"), Facts(1, None))
    first, second, error = await asyncio.gather(upload(engine, "1"), upload(engine, "2"), lost, return_exceptions=True)
    assert isinstance(error, LinkLostError)
    assert isinstance(first, FileObject)
    assert isinstance(second, FileObject)
    keys = [(await upload(engine, f"{number}")).path for number in range(3, 20)]
    assert len({*keys, first.path, second.path}) == 19
    assert entries(world) >= {*keys, first.path, second.path}


async def test_quiet_processes_reserve_nothing(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """One upload in a second is no load."""
    for number in range(3):
        clock.seconds = 1.5 * number
        await upload(engine, str(number))
    assert len(entries(world)) == 3


async def test_unused_reservations_are_given_back(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """When the engine is disposed of, as at the end of an application; what was stored stays."""
    assert clock.seconds == 0
    files = [await upload(engine, tag) for tag in ("1", "2", "3")]
    assert len(entries(world)) == 5
    await engine.dispose()
    assert entries(world) == {file.path for file in files}
    await upload(engine, "4")
    assert len(entries(world)) == 4


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # servers' connections would be left open
async def test_reservations_of_a_disposed_engine_are_not_used(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """Even if it was disposed of where an async driver cannot ask the database, which may be another one by then."""
    assert clock.seconds == 0
    files = [await upload(engine, tag) for tag in ("1", "2")]
    reserved = entries(world) - {file.path for file in files}
    await engine.dispose()
    files.extend([await upload(engine, tag) for tag in ("3", "4")])
    left = entries(world) - {file.path for file in files}
    assert left
    engine.sync_engine.dispose(close=False)
    assert (await upload(engine, "5")).path not in reserved | left


async def test_reservations_of_a_killed_process_run_out(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """They are swept like every staged object; and nobody takes one whose lease has begun long ago."""
    files = [await upload(engine, tag) for tag in ("1", "2")]
    reserved = entries(world) - {file.path for file in files}
    clock.seconds = 601
    assert (await upload(engine, "3")).path not in reserved
    world.pass_time(LEASE_SECONDS + 3600)
    world.recover()
    assert entries(world).isdisjoint(reserved)
    assert world.leftovers() == []


async def test_objects_with_an_owner_are_not_reserved(world: World, engine: AsyncEngine, clock: Clock) -> None:
    """The usage of an owner counts no object that may never come, and a reserved key is nobody's."""
    assert clock.seconds == 0
    await upload(engine, "0")
    await upload(engine, "1")
    reserved = len(entries(world)) - 2
    token = owner_of_new_objects.set("ann")
    try:
        files = [await upload(engine, tag) for tag in ("2", "3", "4")]
    finally:
        owner_of_new_objects.reset(token)
    assert len(entries(world)) == 2 + reserved + 3
    assert world.snapshot().states[ObjectKey(BACKEND, files[0].path)] is State.STAGED
