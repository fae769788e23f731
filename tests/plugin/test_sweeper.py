"""The sweeper that runs beside an application: at intervals, after commits, through failures, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FilestoreConfig, FilestorePlugin, StorageBackend
from litestar_filestore.errors import BackendUnavailableError, LedgerMissingError, QuotaExceededError
from litestar_filestore.orm.ledger_table import State
from litestar_filestore.orm.owner import owner_of_new_objects
from litestar_filestore.orm.sweep import SweepConfig
from litestar_filestore.plugin import sweeper
from litestar_filestore.plugin.ledger import LedgerConfig, find_places
from litestar_filestore.plugin.sweeper import Sweeper, pause_seconds, sweep_places
from litestar_filestore.testing.faults import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Base, Document, a_file
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.orm.ledger import Usage
    from litestar_filestore.plugin.ledger import Database

OFTEN = 0.05
NEVER = 100_000.0
PATIENCE = 30.0
TASK = "litestar-filestore sweeper"


class TellingDriver(FaultyDriver):
    """Tells when as many objects are deleted as the test waits for."""

    def __init__(self, inner: Driver, faults: Sequence[Fault] = ()) -> None:
        super().__init__(inner, faults)
        self.deleted: list[str] = []
        self._waiting: list[tuple[int, Callable[[], object]]] = []

    def delete(self, paths: Sequence[str]) -> None:
        super().delete(paths)
        self._tell(paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        await super().delete_async(paths)
        self._tell(paths)

    def _tell(self, paths: Sequence[str]) -> None:
        self.deleted += paths
        for count, tell in self._waiting:
            if len(self.deleted) >= count:
                tell()

    async def wait_for(self, count: int) -> None:
        """Return when `count` objects have been deleted since the beginning."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._waiting.append((count, lambda: loop.call_soon_threadsafe(done.set)))
        if len(self.deleted) < count:
            await asyncio.wait_for(done.wait(), PATIENCE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Rows in SQLite, objects in a folder."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/test.db")
    world = World(engine, tmp_path / "store")
    world.create()
    world.seed()
    yield world
    world.close()
    engine.dispose()


@pytest.fixture(params=["sync", "async"])
async def database(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Database]:
    """The application's engine, of either kind."""
    if request.param == "sync":
        yield world.engine
        return
    engine = create_async_engine(str(world.engine.url).replace("sqlite:", "sqlite+aiosqlite:"))
    yield engine
    await engine.dispose()


@pytest.fixture
def driver(world: World) -> TellingDriver:
    """The application's store."""
    return TellingDriver(world.backend.storage_driver)


@asynccontextmanager
async def running(driver: Driver, *databases: Database, **options: Any) -> AsyncIterator[Litestar]:
    """Run an application with a ledger."""
    ledger = LedgerConfig(databases=databases, **options)
    config = FilestoreConfig([StorageBackend(BACKEND, driver=driver)], ledger=ledger)
    app = Litestar([], plugins=[FilestorePlugin(config)])
    async with app.lifespan():  # a test client would run it in another thread
        yield app


def clear(world: World, *numbers: int) -> None:
    """Take the files out of rows, in the application's process.

    In a thread where a sweep may be under way: it may hold SQLite's write lock, and gives it back on the event loop.
    """
    with Session(world.engine) as session:
        for number in numbers:
            session.get_one(Document, number).file = None
        session.commit()


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


def sweepers() -> list[asyncio.Task[Any]]:
    """Return the sweepers that run."""
    return [task for task in asyncio.all_tasks() if task.get_name() == TASK]


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


async def test_mistake_of_a_driver(world: World, database: Database) -> None:
    """An exception that no driver should raise is logged and kept in the entry, and the sweeper goes on."""
    driver = TellingDriver(world.backend.storage_driver, [Fault("delete", ZeroDivisionError("a bug"), times=2)])
    async with running(driver, database, sweep_interval_seconds=OFTEN, sweep=SweepConfig(backoff_seconds=0)):
        await asyncio.to_thread(clear, world, 1, 2)
        await driver.wait_for(2)
    assert len(world.objects()) == 3


async def test_one_database_does_not_keep_the_others(world: World, driver: TellingDriver, tmp_path: Path) -> None:
    """Each ledger is swept, whatever is wrong with another, and the errors are raised together."""
    broken = [sa.create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("a", "b")]
    for engine in broken:
        Base.metadata.create_all(engine)
    clear(world, 2)
    config = LedgerConfig()
    places = await find_places([*broken, world.engine])
    for engine in broken:
        LEDGER.drop(engine)
    world.registry.register_backend(StorageBackend(BACKEND, driver=driver))
    with pytest.raises(ExceptionGroup, match="ledgers") as raised:
        await sweep_places(places, world.registry, config)
    assert len(raised.value.exceptions) == 2
    assert len(driver.deleted) == 1
    LEDGER.create(broken[0])
    with pytest.raises(OperationalError):
        await sweep_places(places, world.registry, config)
    for engine in broken:
        engine.dispose()


def test_pause() -> None:
    """Workers do not sweep in step, and what fails is tried again later and later, but within the hour."""
    pauses = {pause_seconds(60, 0) for _ in range(100)}
    assert len(pauses) > 90
    assert all(45 <= each <= 75 for each in pauses)
    assert 90 <= pause_seconds(60, 1) <= 150
    assert 360 <= pause_seconds(60, 3) <= 600
    assert pause_seconds(60, 10) == pause_seconds(60, 5000) == 3600


async def test_pauses_after_failures(
    world: World, database: Database, driver: TellingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper waits for as long as it should after each failure, and counts from the beginning after a success."""
    failures: list[int] = []
    enough = asyncio.Event()

    def pause(interval_seconds: float, count: int) -> float:
        assert interval_seconds == NEVER
        failures.append(count)
        if count == 3:
            with world.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE hidden RENAME TO filestore_object"))
        if count == 0 and len(failures) > 1:
            enough.set()
            return NEVER
        return 0.001

    monkeypatch.setattr(sweeper, "pause_seconds", pause)
    places = await find_places([database])
    world.registry.register_backend(StorageBackend(BACKEND, driver=driver))
    with world.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE filestore_object RENAME TO hidden"))
    sweeping = Sweeper(places, world.registry, LedgerConfig(sweep_interval_seconds=NEVER))
    sweeping.start()
    await asyncio.wait_for(enough.wait(), PATIENCE)
    await sweeping.stop()
    assert failures == [0, 1, 2, 3, 0]


def test_loop_that_ended_first(world: World) -> None:
    """A sweeper whose event loop is closed does not disturb commits, and is forgotten."""

    async def start() -> None:
        Sweeper([], world.registry, LedgerConfig()).start()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.close()
    clear(world, 2)
    clear(world, 3)
    assert len(world.snapshot().rows) == 3


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
