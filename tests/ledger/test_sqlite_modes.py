"""SQLite has one writer: uploads never wait for it in vain, and lose nothing when they cannot note their intent."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import MemoryBackend, StorageBackend, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Base, Document, a_file
from tests.ledger.world import LEDGER, SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar_filestore import ObjectInfo
    from litestar_filestore.core.types import Block, PutOptions

BUSY_SECONDS = 20.0
"""How long the application's connections wait for the write lock."""


@pytest.fixture(params=["delete", "wal"])
def seeded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The rows of the seed in a database file with a rollback journal, and in one with a write-ahead log."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/test.db", connect_args={"timeout": BUSY_SECONDS})

    def set_mode(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA journal_mode = {request.param}")
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.close()

    event.listen(engine, "connect", set_mode)
    world = World(engine, tmp_path / "store")
    world.create()
    world.seed()
    yield world
    world.register()
    assert world.damage() == []
    world.recover()
    assert world.leftovers() == []
    world.close()
    engine.dispose()


def assert_only_noted(world: World) -> None:
    """Nothing is left over but the note of the object, which a sweep forgets."""
    assert world.leftovers() == [f"note: {key}" for key in world.notes()]
    assert len(world.notes()) == 1


def test_intent_is_noted_while_nobody_writes(seeded: World) -> None:
    """A session that has only read stores with an intent."""
    with Session(seeded.engine) as session:
        row = session.get_one(Document, 1)
        row.file = a_file("new")
        session.flush()
        session.rollback()
    assert len(seeded.snapshot().states) == 6


def test_session_that_writes_already_does_not_wait(seeded: World) -> None:
    """A session that holds the write lock stores new content at once, not after waiting for itself."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "written"
        session.flush()
        session.get_one(Document, 1).file = a_file("new")
        begin = time.monotonic()
        session.commit()
        assert time.monotonic() - begin < BUSY_SECONDS / 2
    assert seeded.leftovers() != []
    assert seeded.contents()[1][0] == "new"


def test_other_session_that_writes_costs_little(seeded: World) -> None:
    """Content is stored while another session holds the write lock; only the row itself has to wait for that."""
    stored = threading.Event()

    class Telling(FaultyDriver):
        def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
            info = super().put(path, blocks, options)
            stored.set()
            return info

    storages.register_backend(StorageBackend(BACKEND, driver=Telling(seeded.backend.storage_driver)))
    with Session(seeded.engine) as writer:
        writer.get_one(Document, 2).name = "written"
        writer.flush()

        def replace() -> None:
            with Session(seeded.engine) as session:
                session.get_one(Document, 1).file = a_file("new")
                session.commit()

        thread = threading.Thread(target=replace)
        thread.start()
        begin = time.monotonic()
        assert stored.wait(BUSY_SECONDS)
        waited = time.monotonic() - begin
        writer.commit()
        thread.join()
    assert waited < BUSY_SECONDS / 2
    assert seeded.contents()[1][0] == "new"


def test_rolled_back_without_intent(seeded: World) -> None:
    """Without an intent, a rollback deletes the object by itself."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "written"
        session.flush()
        session.get_one(Document, 1).file = a_file("new")
        session.flush()
        session.rollback()
    assert_only_noted(seeded)
    assert seeded.contents() == SEED


def test_closed_without_intent(seeded: World) -> None:
    """Closing the session without a rollback does the same."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "written"
        session.flush()
        session.get_one(Document, 1).file = a_file("new")
        session.flush()
    assert_only_noted(seeded)
    assert seeded.contents() == SEED


def test_savepoint_without_intent(seeded: World) -> None:
    """Rolling back to a savepoint deletes what was stored since, when the transaction ends."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "written"
        session.flush()
        with session.begin_nested() as savepoint:
            session.get_one(Document, 1).file = a_file("new")
            session.flush()
            savepoint.rollback()
        session.commit()
    assert_only_noted(seeded)
    assert seeded.contents() == SEED


@pytest.mark.parametrize("after_effect", [False, True])
def test_failing_put_without_intent(seeded: World, after_effect: bool) -> None:  # noqa: FBT001
    """A put that fails, even one that did its work first, leaves nothing behind."""
    fault = Fault("put", BackendUnavailableError("down"), after_effect=after_effect)
    storages.register_backend(StorageBackend(BACKEND, driver=FaultyDriver(seeded.backend.storage_driver, [fault])))
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "written"
        session.flush()
        session.get_one(Document, 1).file = a_file("new")
        with pytest.raises(BackendUnavailableError):
            session.commit()
    assert_only_noted(seeded)


def test_concurrent_writers(seeded: World) -> None:
    """Threads that replace and delete at the same time all get their turn."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                with Session(seeded.engine) as session:
                    session.add(Document(id=100 * number + turn, file=a_file(f"{number}{turn:02}")))
                    session.commit()
                with Session(seeded.engine) as session:
                    session.get_one(Document, 100 * number + turn).file = a_file(f"{number}{turn:02}x")
                    session.commit()
        except BaseException as error:  # noqa: BLE001  # shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(seeded.contents()) == 3 + 40


def test_memory_database() -> None:
    """A database in memory has one connection: everything works without a second one."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    storages.register_backend(MemoryBackend(BACKEND))
    with Session(engine) as session:
        session.add(Document(id=1, file=a_file("one")))
        session.commit()
        session.get_one(Document, 1).file = a_file("two")
        session.commit()
        states = session.execute(sa.select(LEDGER.c.state).order_by(LEDGER.c.state)).scalars().all()
    assert states == ["doomed", "linked"]
    storages.unregister_backend(BACKEND)
    engine.dispose()
