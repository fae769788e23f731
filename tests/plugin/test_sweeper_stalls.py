"""A sweeper with a store that hangs, a store that it does not know, or a file that others write to."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from litestar_filestore import MemoryBackend, StorageBackend, StorageRegistry, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.places import find_places
from litestar_filestore.ledger.sweep import SweepConfig, SweepResult, count_due, sweep, sweep_async
from litestar_filestore.ledger.table import State
from litestar_filestore.plugin.sweeper import sweep_places
from litestar_filestore.testing import Fault, FaultyBackend, FaultyDriver
from tests.ledger.world import LEDGER, World
from tests.plugin.sweeping import NEVER, OFTEN, PATIENCE, TellingDriver, clear, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.ledger.ledger_config import Database

OTHER = "stalled"


@pytest.fixture
def stalled() -> Iterator[FaultyBackend]:
    """Another store of this process, which does not answer."""
    backend = FaultyBackend(MemoryBackend(OTHER), [Fault("delete", times=None, delay_seconds=NEVER)])
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(OTHER)


def doom(world: World, backend: str, count: int) -> None:
    """Enter objects that are to be deleted."""
    ledger = Ledger(LEDGER)
    with world.engine.begin() as connection:
        for number in range(count):
            ledger.insert(connection, {ObjectKey(backend, f"{number:03}.txt"): None}, State.DOOMED)


def forget(world: World, backend: str) -> None:
    """Take the entries of a backend out again: nobody is going to delete them."""
    with world.engine.begin() as connection:
        connection.execute(sa.delete(LEDGER).where(LEDGER.c.backend == backend))


class _Hanging(FaultyDriver):
    """Deletes when it is let."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.asked = threading.Event()
        self.let = threading.Event()

    def delete(self, paths: Sequence[str]) -> None:
        self.asked.set()
        self.let.wait(PATIENCE)
        super().delete(paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        self.asked.set()
        await asyncio.sleep(NEVER)


@pytest.mark.matrix(cases=1)
async def test_stalled_store(world: World, database: Database, driver: TellingDriver) -> None:
    """A store that does not answer delays no other one, neither at once nor later."""
    hanging = _Hanging(MemoryBackend(OTHER).storage_driver)
    storages.register_backend(StorageBackend(OTHER, driver=hanging))
    await asyncio.to_thread(doom, world, OTHER, 60)
    async with running(driver, database, sweep_interval_seconds=OFTEN):
        assert await asyncio.to_thread(hanging.asked.wait, PATIENCE)
        for number in (1, 2):
            await asyncio.to_thread(clear, world, number)
            await driver.wait_for(number)
        hanging.let.set()
    storages.unregister_backend(OTHER)
    forget(world, OTHER)


@pytest.mark.parametrize("error", [BackendUnavailableError("down"), None], ids=["error", "silence"])
def test_store_is_not_asked_for_each_object(world: World, stalled: FaultyBackend, error: Exception | None) -> None:
    """Sixty objects of a store that is away cost three requests, and wait for their next turn together."""
    stalled.faulty.plan[:] = [Fault("delete", error, times=None, delay_seconds=0.0 if error else 1.0)]
    doom(world, OTHER, 60)
    assert sweep(world.engine, LEDGER, storages, SweepConfig(delete_seconds=0.2)) == SweepResult(failed=60)
    assert len(stalled.faulty.calls) == 3
    forget(world, OTHER)


async def test_silent_store_of_an_async_sweep(world: World, stalled: FaultyBackend, database: Database) -> None:
    """A delete ends in time on the event loop as well, and the entries say why it failed."""
    if isinstance(database, sa.Engine):
        return
    doom(world, OTHER, 2)
    config = SweepConfig(delete_seconds=0.1)
    assert await sweep_async(database, LEDGER, storages, config) == SweepResult(failed=2)
    with world.engine.connect() as connection:
        errors = set(connection.scalars(sa.select(LEDGER.c.last_error).where(LEDGER.c.backend == OTHER)))
    assert all("0.1 s" in error for error in errors)
    forget(world, OTHER)


@pytest.mark.parametrize("bad", [0, 7, 29, 59])
def test_one_bad_object(world: World, bad: int) -> None:
    """One object that cannot be deleted keeps none of the others."""

    class Choosy(FaultyDriver):
        def delete(self, paths: Sequence[str]) -> None:
            if f"{bad:03}.txt" in paths:
                raise BackendUnavailableError("not this one")

    registry = StorageRegistry()
    registry.register_backend(StorageBackend(OTHER, driver=Choosy(world.backend.storage_driver)))
    doom(world, OTHER, 60)
    assert sweep(world.engine, LEDGER, registry) == SweepResult(deleted=59, failed=1)
    forget(world, OTHER)


async def test_store_that_nobody_knows_here(world: World) -> None:
    """What is of a store that this process does not know is not claimed: another one deletes it at once."""
    doom(world, "elsewhere", 3)
    config = LedgerConfig([world.engine])
    places = await find_places(config.engines)
    assert await sweep_places(places, storages, config) == SweepResult()
    registry = StorageRegistry()
    registry.register_backend(MemoryBackend("elsewhere"))
    assert await sweep_places(places, registry, config) == SweepResult(deleted=3)
    forget(world, "elsewhere")


async def test_batches(world: World) -> None:
    """Who asks hears of each batch, and how much is due; a store of which nothing can be deleted is left alone."""
    doom(world, OTHER, 5)
    config = LedgerConfig([world.engine], sweep=SweepConfig(batch_size=2, backoff_seconds=0))
    places = await find_places(config.engines)
    registry, memory = StorageRegistry(), MemoryBackend(OTHER)
    registry.register_backend(FaultyBackend(memory, [Fault("delete", BackendUnavailableError("away"), times=None)]))
    batches: list[SweepResult] = []
    assert count_due(world.engine, LEDGER, [OTHER]) == 5
    await sweep_places(places, registry, config, batches.append)
    assert batches.pop() == SweepResult(failed=2)
    assert batches == []
    registry.register_backend(memory)
    await sweep_places(places, registry, config, batches.append)
    assert batches == [SweepResult(deleted=2), SweepResult(deleted=2), SweepResult(deleted=1)]
    assert count_due(world.engine, LEDGER, [OTHER]) == 0
    forget(world, OTHER)


async def test_locked_database(world: World, driver: TellingDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that others write to is swept soon after they let it go, not later and later."""
    monkeypatch.setattr("litestar_filestore.ledger.staging._PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("litestar_filestore.plugin.sweeper._LOCKED_SECONDS", OFTEN)
    monkeypatch.setattr("litestar_filestore.plugin.sweeper._LONGEST_WAIT_SECONDS", NEVER)
    refused = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is locked" in record.getMessage():
                loop.call_soon_threadsafe(refused.set)

    logger, listener = logging.getLogger("litestar_filestore"), Listener()
    async with running(driver, world.engine, sweep_interval_seconds=OFTEN):
        logger.addHandler(listener)
        level = logger.level
        logger.setLevel(logging.INFO)
        try:
            await asyncio.to_thread(clear, world, 1)
            with world.engine.connect() as writer:
                writer.exec_driver_sql("BEGIN IMMEDIATE")
                await asyncio.wait_for(refused.wait(), PATIENCE)
                for _ in range(3):
                    refused.clear()
                    await asyncio.wait_for(refused.wait(), PATIENCE)
                writer.rollback()
            await driver.wait_for(1)
        finally:
            logger.setLevel(level)
            logger.removeHandler(listener)
