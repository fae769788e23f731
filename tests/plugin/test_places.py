"""Which ledgers an application has, in a process that knows classes of others as well."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, MemoryBackend, StoredObject
from litestar_filestore.errors import LedgerMissingError, QuotaExceededError
from litestar_filestore.ledger.fsck import fsck
from litestar_filestore.ledger.ledger import Usage
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.places import Place, find_places
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.table import LEDGER_SWITCH, define_ledger, ledger_of

Open = Callable[[sa.MetaData], sa.Engine]
BACKEND = "places"


class Shop(DeclarativeBase):
    """An application with a ledger."""


class Invoice(Shop):
    __tablename__ = "places_invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Archive(DeclarativeBase):
    """Another application with a ledger, whose table of the same name has other columns beside the same ones."""


class ArchivedInvoice(Archive):
    __tablename__ = "places_invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    scan: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Camera(DeclarativeBase):
    """One whose table of the same name shares no file column with the others."""


class Picture(Camera):
    __tablename__ = "places_invoice"

    number: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Plain(DeclarativeBase):
    """One without stored files, which keeps their paths as text in a column of the same name."""


class PlainInvoice(Plain):
    __tablename__ = "places_invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str | None]
    paid: Mapped[bool]


class Unwatched(DeclarativeBase):
    """One that wants no ledger."""

    metadata = sa.MetaData(info={LEDGER_SWITCH: False})


class UnwatchedInvoice(Unwatched):
    __tablename__ = "places_invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    note: Mapped[str]


class Elsewhere(DeclarativeBase):
    """One whose tables are in a schema that the databases of the others do not have."""

    metadata = sa.MetaData(schema="places_elsewhere")


class Letter(Elsewhere):
    __tablename__ = "places_invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Open]:
    """Make databases with the tables of a metadata."""
    engines: list[sa.Engine] = []

    def open_database(metadata: sa.MetaData) -> sa.Engine:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/{len(engines)}.db")
        engines.append(engine)
        metadata.create_all(engine)
        return engine

    yield open_database
    for engine in engines:
        engine.dispose()


def classes(place: Place) -> set[str]:
    """Return the names of a place's classes that are in this module."""
    return {mapper.class_.__name__ for mapper in place.mappers if mapper.class_.__module__ == __name__}


async def start(*databases: sa.Engine | AsyncEngine) -> None:
    """Start an application and stop it again."""
    ledger = LedgerConfig(databases, run_sweeper=False)
    async with Litestar([], plugins=[FilestorePlugin(FilestoreConfig(ledger=ledger))]).lifespan():
        pass


@pytest.mark.parametrize("base", [Shop, Archive, Camera, Plain, Unwatched])
async def test_application_starts_beside_others(base: type[DeclarativeBase], open_database: Open) -> None:
    """Classes of other applications do not keep one from starting, though their tables are called the same."""
    await start(open_database(base.metadata))


async def test_two_applications_start_in_one_process(open_database: Open) -> None:
    """Nor do they when the other application runs, on a database of its own."""
    databases = [open_database(Shop.metadata), open_database(Unwatched.metadata)]
    ledger = LedgerConfig(databases[:1], run_sweeper=False)
    async with Litestar([], plugins=[FilestorePlugin(FilestoreConfig(ledger=ledger))]).lifespan():
        await start(databases[1])


async def test_place_has_its_own_classes(open_database: Open) -> None:
    """Classes of which the database has no file column, or only some that another class shows, are left out."""
    (place,) = await find_places([open_database(Shop.metadata)])
    assert (place.table, classes(place)) == (ledger_of(Shop.metadata), {"Invoice"})


async def test_place_has_every_class_that_may_hold_an_object(open_database: Open) -> None:
    """Two classes on one table, each with its ledger there, are both asked for the files of their rows."""
    (place,) = await find_places([open_database(Archive.metadata)])
    assert classes(place) == {"ArchivedInvoice", "Invoice"}


async def test_quota_counts_for_every_class(open_database: Open) -> None:
    """Classes of several metadata that share a ledger share the quota, whichever of them stores."""

    def refuse(owner: str, _usage: Usage) -> None:
        raise QuotaExceededError(f"nothing for {owner}")

    database = open_database(Archive.metadata)
    ledger = LedgerConfig([database], run_sweeper=False, quota=refuse)
    backend = MemoryBackend(BACKEND)
    plugin = FilestorePlugin(FilestoreConfig([backend], ledger=ledger))
    async with Litestar([], plugins=[plugin]).lifespan():
        token = owner_of_new_objects.set("alice")
        for row in (Invoice(id=1), ArchivedInvoice(id=2)):
            row.file = FileObject(BACKEND, "a.txt", content=b"x")
            with Session(database) as session:
                session.add(row)
                with pytest.raises(QuotaExceededError):
                    session.flush()
        owner_of_new_objects.reset(token)


async def test_database_without_ledger_and_classes_has_no_place(open_database: Open) -> None:
    """An application that stores no files in rows has nothing to look after."""
    assert await find_places([open_database(Plain.metadata)]) == []


@pytest.mark.parametrize("base", [Shop, Archive, Camera])
async def test_ledger_elsewhere_is_refused(base: type[DeclarativeBase], open_database: Open) -> None:
    """A class without its ledger keeps the application from starting, whatever else the process knows."""
    database = open_database(base.metadata)
    ledger = define_ledger(base.metadata)
    assert ledger is not None
    ledger.drop(database)
    other = open_database(sa.MetaData())
    ledger.create(other)
    (name,) = (mapper.class_.__name__ for mapper in base.registry.mappers)
    with pytest.raises(LedgerMissingError, match=rf"rows of .*\b{name}\b.* create it there"):
        await find_places([database, other])


async def test_class_whose_column_is_missing_is_not_forgotten(open_database: Open) -> None:
    """A column that a migration has still to add is an error of the check, not a reason to take files for nobody's."""
    database = open_database(Archive.metadata)
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE places_invoice DROP COLUMN file"))
    (place,) = await find_places([database])
    assert classes(place) == {"ArchivedInvoice"}
    with pytest.raises(OperationalError, match="no such column"):
        fsck(database, place.table, place.mappers, [MemoryBackend(BACKEND)])
