"""The sweeper that runs beside an application: at intervals, after commits, until it is stopped."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FilestoreConfig, FilestorePlugin
from litestar_filestore.errors import LedgerMissingError, QuotaExceededError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State
from tests.ledger.models import Base, Document, a_file
from tests.ledger.world import LEDGER, World
from tests.plugin.sweeping import NEVER, OFTEN, PATIENCE, TellingDriver, clear, running, sweepers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from litestar_filestore.ledger.ledger import Usage
    from litestar_filestore.ledger.ledger_config import Database


def doom_beside(world: World) -> None:
    """Doom an object as another process does it, which wakes nobody here."""
    with world.engine.begin() as connection:
        connection.execute(sa.update(LEDGER).where(LEDGER.c.size == 6000).values(state=State.DOOMED))


def delete_all(world: World) -> None:
    """Delete all rows, in the application's process."""
    with Session(world.engine) as session:
        for row in session.scalars(sa.select(Document)):
            session.delete(row)
        session.commit()


async def test_sweeps_at_intervals(world: World, database: Database, driver: TellingDriver) -> None:
    """What is due is deleted without anybody asking for it, again and again."""
    async with running(driver, database, sweep_interval_seconds=OFTEN):
        await asyncio.to_thread(doom_beside, world)
        await driver.wait_for(1)
        await asyncio.to_thread(world.pass_time)
        await driver.wait_for(2)


async def test_commit_wakes_it(world: World, database: Database, driver: TellingDriver) -> None:
    """A commit of this process that gave an object up does not wait for the interval."""
    async with running(driver, database, sweep_interval_seconds=NEVER):
        clear(world, 1)
        await driver.wait_for(1)


async def test_async_commit_wakes_it(world: World, driver: TellingDriver) -> None:
    """Nor does one of an async session."""
    engine = create_async_engine(str(world.engine.url).replace("sqlite:", "sqlite+aiosqlite:"))
    async with running(driver, engine, sweep_interval_seconds=NEVER):
        async with AsyncSession(engine) as session:
            await session.delete(await session.get_one(Document, 2))
            await session.commit()
        await driver.wait_for(1)
    await engine.dispose()


async def test_stops_with_the_application(world: World, database: Database, driver: TellingDriver) -> None:
    """The sweeper runs while the application does; afterwards there is no task, and commits wake nobody."""
    async with running(driver, database, sweep_interval_seconds=NEVER):
        assert len(sweepers()) == 1
    assert sweepers() == []
    clear(world, 1)
    assert driver.deleted == []


async def test_stops_in_the_middle_of_a_sweep(world: World, database: Database) -> None:
    """An application that ends while objects are being deleted does so at once, and the rest is left for another."""
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    class SlowDriver(TellingDriver):
        def delete(self, paths: Sequence[str]) -> None:
            loop.call_soon_threadsafe(began.set)
            threading.Event().wait(OFTEN)
            super().delete(paths)

        async def delete_async(self, paths: Sequence[str]) -> None:
            began.set()
            await asyncio.sleep(NEVER)

    driver = SlowDriver(world.backend.storage_driver)
    async with running(driver, database, sweep_interval_seconds=OFTEN, sweep=SweepConfig(batch_size=1)):
        await asyncio.to_thread(clear, world, 1, 2, 3)
        await asyncio.wait_for(began.wait(), PATIENCE)
    assert sweepers() == []
    world.register()
    world.recover()
    assert world.leftovers() == []
    assert world.damage() == []


async def test_two_applications(world: World, driver: TellingDriver) -> None:
    """Two applications that sweep one ledger delete each object once."""
    async with running(driver, world.engine, sweep_interval_seconds=OFTEN, sweep=SweepConfig(batch_size=1)):
        other = create_async_engine(str(world.engine.url).replace("sqlite:", "sqlite+aiosqlite:"))
        plugin = FilestorePlugin(
            FilestoreConfig(ledger=LedgerConfig([other], sweep_interval_seconds=OFTEN, sweep=SweepConfig(batch_size=1)))
        )
        async with Litestar([], plugins=[plugin]).lifespan():
            assert len(sweepers()) == 2
            await asyncio.to_thread(delete_all, world)
            await driver.wait_for(5)
        await other.dispose()
    assert len(set(driver.deleted)) == len(driver.deleted) == 5


async def test_switched_off(world: World, driver: TellingDriver) -> None:
    """An application can leave sweeping to others."""
    async with running(driver, world.engine, run_sweeper=False):
        assert sweepers() == []


async def test_ledger_in_another_database(world: World, driver: TellingDriver, tmp_path: Path) -> None:
    """A model whose ledger is in another database than its rows is refused when the application starts."""
    LEDGER.drop(world.engine)
    other = sa.create_engine(f"sqlite:///{tmp_path}/other.db")
    LEDGER.create(other)
    refused = pytest.RaisesExc(LedgerMissingError, match=r"rows of Document .* create it there")
    with pytest.RaisesGroup(refused, allow_unwrapped=True, flatten_subgroups=True):
        async with running(driver, world.engine, other):
            raise AssertionError("the application has started")
    other.dispose()


async def test_two_databases(world: World, driver: TellingDriver, tmp_path: Path) -> None:
    """Every database of the application is swept."""
    other = World(sa.create_engine(f"sqlite:///{tmp_path}/other.db"), world.root)
    Base.metadata.create_all(other.engine)
    other.seed()
    async with running(driver, world.engine, other.engine, sweep_interval_seconds=NEVER):
        clear(world, 1)
        clear(other, 1)
        await driver.wait_for(2)
    other.engine.dispose()


async def test_quota(world: World, driver: TellingDriver) -> None:
    """The quota of the configuration counts while the application runs, and not after it."""

    def refuse(owner: str, _usage: Usage) -> None:
        raise QuotaExceededError(f"nothing for {owner}")

    def add(number: int) -> None:
        with Session(world.engine) as session:
            session.add(Document(id=number, file=a_file("new")))
            session.commit()

    owner_of_new_objects.set("alice")
    async with running(driver, world.engine, run_sweeper=False, quota=refuse):
        with pytest.raises(QuotaExceededError, match="nothing for alice"):
            add(4)
    world.register()
    add(4)
