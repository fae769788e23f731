"""Where uploads are stored, and what is left of those that fail."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar, post
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    StorageBackend,
    Storages,
    StoredObject,
    storages,
)
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, LinkLostError, ObjectExistsError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.places import find_places
from litestar_filestore.ledger.sweep import on_doomed
from litestar_filestore.ledger.table import LEDGER_SWITCH, State, ledger_of
from litestar_filestore.testing import Fault, FaultyDriver
from litestar_filestore.tracking.deletes import retry_deletes_async
from litestar_filestore.uploads.storing import ApplicationStorer, LedgerStorer, PlainStorer

SHARED = "storing"
OWN = "storing-archive"
DOWN = BackendUnavailableError("down")


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "storing_document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(SHARED))


class Archive(DeclarativeBase):
    pass


class Record(Archive):
    __tablename__ = "storing_record"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(SHARED))
    copy: Mapped[FileObject | None] = mapped_column(StoredObject(OWN))


class Unwatched(DeclarativeBase):
    metadata = sa.MetaData(info={LEDGER_SWITCH: False})


class Note(Unwatched):
    __tablename__ = "storing_note"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(SHARED))


@pytest.fixture
def driver(tmp_path: Path) -> FaultyDriver:
    """A folder that fails as planned."""
    return FaultyDriver(LocalBackend(SHARED, tmp_path / "files", fsync=False).storage_driver)


@pytest.fixture
def backend(driver: FaultyDriver) -> Iterator[StorageBackend]:
    """The backend of most columns."""
    backend = StorageBackend(SHARED, driver=driver)
    driver.wrapped.start()
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(SHARED)


@pytest.fixture
async def open_engine(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Make databases with the tables of a base."""
    engines: list[AsyncEngine] = []

    async def open_engine(base: type[DeclarativeBase], name: str = "test") -> AsyncEngine:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/{name}.db" if name else "sqlite+aiosqlite://")
        engines.append(engine)
        async with engine.begin() as connection:
            await connection.run_sync(base.metadata.create_all)
        return engine

    yield open_engine
    for engine in engines:
        await engine.dispose()


async def states(engine: Any) -> list[str]:
    """Return the states of all objects that a ledger knows."""
    table = ledger_of(Base.metadata)
    assert table is not None
    async with engine.connect() as connection:
        return sorted(await connection.scalars(sa.select(table.c.state)))


def keys(backend: StorageBackend) -> list[str]:
    """Return the keys of all objects."""
    return [info.key for info in backend.list()]


async def store(storer: Any, backend: StorageBackend, content: Any = b"content", **options: Any) -> FileObject:
    """Store a file."""
    file: FileObject = await storer.store(
        backend, content, NewFile(filename="a.html", content_type="image/png", ext=".png", **options)
    )
    return file


class TestWithLedger:
    """One database with a ledger."""

    async def test_file(self, backend: StorageBackend, open_engine: Any) -> None:
        """A file has what it was stored with; its key ends as its type does, not as its name."""
        storer = ApplicationStorer()
        engine = await open_engine(Base)
        storer.open(await find_places([engine]))
        file = await store(storer, backend, metadata={"a": 1}, key_template="x/{random}{ext}")
        assert (file.filename, file.content_type, file.metadata, file.size) == ("a.html", "image/png", {"a": 1}, 7)
        assert (file.path[:2], file.path[-4:], keys(backend)) == ("x/", ".png", [file.path])
        assert await states(engine) == [State.STAGED]

    @pytest.mark.parametrize("after_effect", [False, True])
    async def test_failing_store(
        self,
        backend: StorageBackend,
        driver: FaultyDriver,
        open_engine: Any,
        after_effect: bool,  # noqa: FBT001
    ) -> None:
        """What could not be stored is given up at once and the sweepers are woken, whether or not it was stored."""
        storer = ApplicationStorer()
        engine = await open_engine(Base)
        storer.open(await find_places([engine]))
        driver.plan.append(Fault("put", DOWN, after_effect=after_effect))
        woken: list[bool] = []
        forget = on_doomed(lambda: woken.append(True))
        with pytest.raises(BackendUnavailableError):
            await store(storer, backend)
        forget()
        assert (await states(engine), woken) == ([State.DOOMED], [True])

    async def test_failing_source(self, backend: StorageBackend, open_engine: Any) -> None:
        """The error of a source comes out as it is, and nothing of it stays."""

        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise ZeroDivisionError

        storer = ApplicationStorer()
        engine = await open_engine(Base)
        storer.open(await find_places([engine]))
        with pytest.raises(ZeroDivisionError):
            await store(storer, backend, broken())
        assert (await states(engine), keys(backend)) == ([State.DOOMED], [])

    @pytest.mark.parametrize("steps", [*range(12), 20, 40, 80])
    async def test_cancellation(self, backend: StorageBackend, open_engine: Any, steps: int) -> None:
        """Wherever a cancellation comes, what is there is given up, or stored as a whole and the caller's."""
        storer = ApplicationStorer()
        engine = await open_engine(Base)
        storer.open(await find_places([engine]))
        task = asyncio.create_task(store(storer, backend))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        expected = {State.DOOMED} if task.cancelled() else {State.STAGED}
        assert set(await states(engine)) <= expected

    async def test_release_of_one_of_two(self, backend: StorageBackend, open_engine: Any) -> None:
        """Only what no row has is given up, and the number says how much that was."""
        storer = ApplicationStorer()
        engine = await open_engine(Base)
        storer.open(await find_places([engine]))
        taken, left = await store(storer, backend), await store(storer, backend)
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=taken))
            await session.commit()
        assert await storer.release([taken, left]) == 1
        assert await storer.release([taken, left]) == 0
        assert await states(engine) == [State.DOOMED, State.LINKED]

    async def test_synchronous_database(self, backend: StorageBackend, tmp_path: Path) -> None:
        """A database behind a synchronous driver has a ledger like any other."""
        engine = sa.create_engine(f"sqlite:///{tmp_path}/sync.db")
        Base.metadata.create_all(engine)
        storer = ApplicationStorer()
        storer.open(await find_places([engine]))
        file, left = await store(storer, backend), await store(storer, backend)
        with Session(engine) as session:
            session.add(Document(id=1, file=file))
            session.commit()
        assert await storer.release([file, left]) == 1
        engine.dispose()


class TestWithoutLedger:
    """A database without a ledger, or none at all."""

    async def test_release(self, backend: StorageBackend, open_engine: Any) -> None:
        """What no committed row took is deleted."""
        storer, engine = ApplicationStorer(), await open_engine(Unwatched)
        taken, left = await store(storer, backend), await store(storer, backend)
        async with AsyncSession(engine) as session:
            session.add(Note(id=1, file=taken))
            await session.commit()
        assert await storer.release([taken, left]) == 1
        assert keys(backend) == [taken.path]

    async def test_rolled_back_row(self, backend: StorageBackend, open_engine: Any) -> None:
        """A row that was rolled back has taken nothing."""
        storer, engine = ApplicationStorer(), await open_engine(Unwatched)
        file = await store(storer, backend)
        async with AsyncSession(engine) as session:
            session.add(Note(id=1, file=file))
            await session.flush()
            await session.rollback()
        assert await storer.release([file]) == 1
        assert keys(backend) == []

    async def test_open_transaction(self, backend: StorageBackend, open_engine: Any) -> None:
        """A file in the hands of an open transaction is left to it."""
        storer, engine = ApplicationStorer(), await open_engine(Unwatched)
        file = await store(storer, backend)
        async with AsyncSession(engine) as session:
            session.add(Note(id=1, file=file))
            await session.flush()
            assert await storer.release([file]) == 0
            await session.commit()
        assert keys(backend) == [file.path]

    async def test_row_that_comes_too_late(self, backend: StorageBackend, open_engine: Any) -> None:
        """A file that was given up cannot get into a row, nor be kept."""
        storer, engine = ApplicationStorer(), await open_engine(Unwatched)
        file = await store(storer, backend)
        await storer.release([file])
        with pytest.raises(LinkLostError):
            await storer.keep(file)
        async with AsyncSession(engine) as session:
            session.add(Note(id=1, file=file))
            with pytest.raises(LinkLostError):
                await session.commit()

    async def test_kept_and_discarded(self, backend: StorageBackend) -> None:
        """A kept file stays until it is discarded."""
        storer = ApplicationStorer()
        file = await store(storer, backend)
        await storer.keep(file)
        assert await storer.release([file]) == 0
        assert keys(backend) == [file.path]
        await storer.discard(file)
        assert keys(backend) == []

    @pytest.mark.parametrize("after_effect", [False, True])
    async def test_failing_store(
        self,
        backend: StorageBackend,
        driver: FaultyDriver,
        after_effect: bool,  # noqa: FBT001
    ) -> None:
        """What a store may have kept although it failed is deleted at once."""
        driver.plan.append(Fault("put", DOWN, after_effect=after_effect))
        with pytest.raises(BackendUnavailableError):
            await store(ApplicationStorer(), backend)
        assert keys(backend) == []

    async def test_failure_under_a_key_that_is_taken(self, backend: StorageBackend) -> None:
        """An upload that fails under a key of its link leaves alone what an earlier one has put there."""

        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise ZeroDivisionError

        storer = ApplicationStorer()
        await storer.keep(await store(storer, backend, key="pinned"))
        with pytest.raises((ZeroDivisionError, ObjectExistsError)):
            await store(storer, backend, broken(), key="pinned")
        assert backend.get_content("pinned") == b"content"

    async def test_delete_that_fails(self, backend: StorageBackend, driver: FaultyDriver) -> None:
        """A delete that fails is tried again later."""
        storer = ApplicationStorer()
        file = await store(storer, backend)
        driver.plan.append(Fault("delete", DOWN))
        await storer.release([file])
        assert keys(backend) == [file.path]
        driver.plan.clear()
        assert await retry_deletes_async() == 0
        assert keys(backend) == []

    async def test_database_in_memory(self, backend: StorageBackend, open_engine: Any) -> None:
        """A database with one connection has no other one to stage on: the row enters the object."""
        storer, engine = ApplicationStorer(), await open_engine(Base, "")
        storer.open(await find_places([engine]))
        taken, left = await store(storer, backend), await store(storer, backend)
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=taken))
            await session.commit()
        assert await storer.release([taken, left]) == 1
        assert (keys(backend), await states(engine)) == ([taken.path], [State.LINKED])


class TestSeveralDatabases:
    """Two databases, each with a ledger of its own."""

    @pytest.fixture
    async def storer(self, open_engine: Any) -> ApplicationStorer:
        """Documents in one database, records in the other."""
        storer = ApplicationStorer()
        first, second = await open_engine(Base, "first"), await open_engine(Archive, "second")
        storer.open(await find_places([first, second]))
        return storer

    @pytest.mark.parametrize(
        ("model", "backend", "table"),
        [
            (Document, SHARED, Base.metadata),
            (Record, SHARED, Archive.metadata),
            (Record, "any", Archive.metadata),
            (None, OWN, Archive.metadata),
        ],
    )
    async def test_place(self, storer: ApplicationStorer, model: type | None, backend: str, table: sa.MetaData) -> None:
        """The class says which database it is, or else the backend, where only one has columns for it."""
        found = storer.storer_for(model, backend)
        assert isinstance(found, LedgerStorer)
        assert found.table.metadata is table

    async def test_class_without_a_ledger(self, storer: ApplicationStorer) -> None:
        """A class whose metadata has no ledger needs none for its uploads."""
        assert isinstance(storer.storer_for(Note, SHARED), PlainStorer)

    @pytest.mark.parametrize("backend", [SHARED, "any"])
    async def test_no_way_to_tell(self, storer: ApplicationStorer, backend: str) -> None:
        """Without a class, and with columns for the backend in both or none, nobody can tell."""
        with pytest.raises(ConfigurationError, match="name the column in the form"):
            storer.storer_for(None, backend)

    async def test_one_database_behind_two_drivers(self, open_engine: Any, tmp_path: Path) -> None:
        """Two engines of one database are one place."""
        engine = await open_engine(Base)
        beside = sa.create_engine(f"sqlite:///{tmp_path}/test.db")
        storer = ApplicationStorer()
        storer.open(await find_places([beside, engine]))
        assert isinstance(storer.storer_for(None, SHARED), LedgerStorer)
        beside.dispose()

    async def test_release_from_both(self, storer: ApplicationStorer, backend: StorageBackend) -> None:
        """Files of one request may lie in the ledgers of several databases."""
        files = [await store(storer, backend, model=model) for model in (Document, Record, Note)]
        assert await storer.release(files) == 3


@dataclass
class UnclearForm:
    file: FileObject


@dataclass
class ClearForm:
    file: Annotated[FileObject, Record.file]


@pytest.fixture
async def two_databases(open_engine: Any) -> LedgerConfig:
    """Documents in one database, records in the other, and columns of both in one backend."""
    engines = [await open_engine(Base, "first"), await open_engine(Archive, "second")]
    return LedgerConfig(engines, run_sweeper=False)


async def test_form_that_says_whose_files_they_are(backend: StorageBackend, two_databases: LedgerConfig) -> None:
    """A form that names a column starts, and its files go into the ledger of that column's database."""

    @post("/")
    async def create(data: MultipartBody[ClearForm], storages: Storages) -> None:
        await storages.keep(data.file)

    app = Litestar([create], plugins=[FilestorePlugin(FilestoreConfig([backend], ledger=two_databases))])
    async with app.lifespan():
        transport = httpx.ASGITransport(app=cast("Any", app))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            assert (await client.post("/", files={"file": ("a.txt", b"content")})).status_code == 201
    first, second = two_databases.engines
    assert (await states(first), await states(second)) == ([], [State.KEPT])


async def test_form_that_does_not_say_whose_files_they_are(
    backend: StorageBackend, two_databases: LedgerConfig
) -> None:
    """An application with a form that could belong to two databases does not start, and says what to do."""

    @post("/")
    async def create(data: MultipartBody[UnclearForm]) -> None: ...

    app = Litestar([create], plugins=[FilestorePlugin(FilestoreConfig([backend], ledger=two_databases))])
    with pytest.raises(ExceptionGroup) as caught:
        async with app.lifespan():
            raise AssertionError
    assert caught.group_contains(ConfigurationError, match="name the column in the form")
