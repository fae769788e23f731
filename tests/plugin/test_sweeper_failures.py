"""A sweeper whose store, database or event loop fails: it goes on, and leaves others alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from litestar_filestore import storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.places import find_places
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State
from litestar_filestore.plugin.sweeper import Sweeper, pause_seconds, sweep_places
from litestar_filestore.testing import Fault
from tests.ledger.models import Base
from tests.ledger.world import LEDGER, World
from tests.plugin.sweeping import NEVER, OFTEN, PATIENCE, TellingDriver, clear, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar_filestore.ledger.ledger_config import Database


async def test_failing_store(world: World, database: Database) -> None:
    """A store that fails is tried again later, until it works; the ledger says what was wrong meanwhile."""
    fault = Fault("delete", BackendUnavailableError("down"), times=3)
    driver = TellingDriver(world.backend.storage_driver, [fault])
    sweep = SweepConfig(backoff_seconds=OFTEN)
    async with running(driver, database, sweep_interval_seconds=OFTEN, sweep=sweep):
        await asyncio.to_thread(clear, world, 1)
        await driver.wait_for(1)
    with world.engine.connect() as connection:
        entry = connection.execute(sa.select(LEDGER.c.attempts).where(LEDGER.c.state != State.LINKED)).one()
    assert entry.attempts == 3


async def test_foreign_error(world: World, database: Database) -> None:
    """A driver that raises what is not the package's does not end the sweeper."""
    fault = Fault("delete", RuntimeError("a bug of a library"), times=3)
    driver = TellingDriver(world.backend.storage_driver, [fault])
    sweep = SweepConfig(backoff_seconds=OFTEN)
    async with running(driver, database, sweep_interval_seconds=OFTEN, sweep=sweep):
        await asyncio.to_thread(clear, world, 1)
        await driver.wait_for(1)


async def test_failing_database(world: World, driver: TellingDriver) -> None:
    """A sweep that fails as a whole is logged, and the next one comes after a longer wait."""
    twice = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "for the 2. time" in record.getMessage():
                loop.call_soon_threadsafe(twice.set)

    # By hand: Litestar configures logging when it starts, and takes pytest's handler away.
    listener = Listener()
    logging.getLogger("litestar_filestore").addHandler(listener)
    try:
        async with running(driver, world.engine, sweep_interval_seconds=OFTEN):
            with world.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE filestore_object RENAME TO hidden"))
            await asyncio.wait_for(twice.wait(), PATIENCE)
            with world.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE hidden RENAME TO filestore_object"))
            clear(world, 1)
            await driver.wait_for(1)
    finally:
        logging.getLogger("litestar_filestore").removeHandler(listener)


@pytest.fixture
def broken(world: World, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database that had a ledger; it comes before that of `world`."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/broken.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("interval", [OFTEN, NEVER], ids=["intervals", "commits"])
async def test_one_database_fails(world: World, broken: sa.Engine, driver: TellingDriver, interval: float) -> None:
    """A database that fails keeps no other one from being swept, neither at intervals nor after commits."""
    async with running(driver, broken, world.engine, sweep_interval_seconds=interval):
        LEDGER.drop(broken)
        for number in (1, 2):
            await asyncio.to_thread(clear, world, number)
            await driver.wait_for(number)


async def test_failures_are_reported_together(world: World, broken: sa.Engine) -> None:
    """Sweeping all ledgers sweeps those that work, and raises what kept the others from it, saying which they are."""
    config = LedgerConfig([broken, world.engine, broken])
    places = await find_places(config.engines)
    LEDGER.drop(broken)
    clear(world, 1)
    with pytest.RaisesGroup(OperationalError, OperationalError, match="2 of 3 ledgers") as raised:
        await sweep_places(places, storages, config)
    assert ["broken.db" in "".join(error.__notes__) for error in raised.value.exceptions] == [True, True]
    assert len(world.objects()) == 4


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 60), (1, 120), (2, 240), (5, 1920), (6, 3600), (7, 3600), (2000, 3600)]
)
def test_back_off(failures: int, seconds: float) -> None:
    """Each failure in a row doubles the interval, up to an hour."""
    assert pause_seconds(60, failures, 0.5) == seconds


def test_interval_of_more_than_an_hour() -> None:
    """A failure never makes the next sweep come earlier than a success."""
    assert pause_seconds(7200, 0, 0.5) == pause_seconds(7200, 3, 0.5) == 7200


@pytest.mark.parametrize(("failures", "seconds"), [(0, 60), (1, 120), (100, 3600)])
def test_jitter(failures: int, seconds: float) -> None:
    """Chance takes up to a quarter off or adds it, however long the pause is."""
    assert pause_seconds(60, failures, 0) == seconds * 0.75
    assert pause_seconds(60, failures, 1) == seconds * 1.25


async def test_sweeper_pauses(
    world: World, broken: sa.Engine, driver: TellingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper keeps each ledger's pause, asked for with its failures in a row and another chance each time."""
    asked: list[tuple[float, int, float]] = []
    enough = asyncio.Event()

    def pause(interval: float, failures: int, chance: float) -> float:
        asked.append((interval, failures, chance))
        if len(asked) == 12:
            enough.set()
        return NEVER if failures == 2 else 0

    monkeypatch.setattr("litestar_filestore.plugin.sweeper.pause_seconds", pause)
    async with running(driver, broken, world.engine, sweep_interval_seconds=OFTEN):
        LEDGER.drop(broken)
        await asyncio.wait_for(enough.wait(), PATIENCE)
    assert {interval for interval, _, _ in asked} == {OFTEN}
    assert [failures for _, failures, _ in asked if failures] == [1, 2]
    assert len({chance for _, _, chance in asked}) == len(asked)
    assert all(0 <= chance <= 1 for _, _, chance in asked)


def test_loop_that_is_closed(world: World) -> None:
    """A commit goes through although a sweeper's loop was closed before it was stopped, and forgets the sweeper."""

    async def start() -> weakref.ref[Sweeper]:
        ledger = LedgerConfig([world.engine], sweep_interval_seconds=NEVER)
        sweeper = Sweeper(await find_places([world.engine]), storages, ledger)
        sweeper.start()
        return weakref.ref(sweeper)

    sweeper = asyncio.run(start())
    clear(world, 1)
    gc.collect()
    assert sweeper() is None
