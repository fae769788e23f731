"""Tenants in schemas of one database: what a session stages, notes and links is in the schema that it writes to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, LocalBackend, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import ConflictError, LedgerError, LedgerMissingError
from litestar_filestore.ledger.intents import intents_of, store_async
from litestar_filestore.ledger.ledger import ObjectKey
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import State
from tests.ledger.models import BACKEND, Base, Document, a_file, content_of
from tests.ledger.places import async_url
from tests.ledger.world import LEDGER, NOTES, pass_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

TENANTS = ("red", "blue")


def options(tenant: str) -> dict[str, Any]:
    """Return what leads from no schema to that of a tenant."""
    return {"schema_translate_map": {None: tenant}}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """The store of all tenants."""
    backend = LocalBackend(BACKEND, tmp_path / "store", fsync=False)
    backend.storage_driver.start()
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(BACKEND)


@pytest.fixture
def engine(postgres_url: str, backend: LocalBackend) -> Iterator[sa.Engine]:
    """The tables, in no schema and in that of each tenant. In the end the objects are those of the rows."""
    engine = sa.create_engine(postgres_url)
    every = [engine, *(engine.execution_options(**options(tenant)) for tenant in TENANTS)]
    with engine.begin() as connection:
        for tenant in TENANTS:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {tenant} CASCADE")
            connection.exec_driver_sql(f"CREATE SCHEMA {tenant}")
    Base.metadata.drop_all(engine)
    for each in every:
        Base.metadata.create_all(each)
    yield engine
    for _ in range(2):
        for each in every:
            age_and_sweep(each)
    rows = [file.path for each in every for file in files(each)]
    assert sorted(info.key for info in backend.list()) == sorted(rows)
    engine.dispose()


@pytest.fixture
async def async_engine(engine: sa.Engine) -> AsyncIterator[AsyncEngine]:
    """The same database behind an async driver."""
    found = create_async_engine(async_url(engine.url.render_as_string(hide_password=False)))
    yield found
    await found.dispose()


def age_and_sweep(engine: sa.Engine) -> None:
    """Let all leases of one schema run out, and sweep it."""
    with engine.begin() as connection:
        pass_time(connection)
    sweep(engine, LEDGER, storages)


def files(engine: sa.Engine) -> list[FileObject]:
    """Return the files in the rows of one schema."""
    with engine.connect() as connection:
        return [file for file in connection.scalars(sa.select(Document.file)) if file is not None]


def states(engine: sa.Engine) -> list[str]:
    """Return the states of all entries of one schema."""
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(LEDGER.c.state)))


def by_engine(engine: sa.Engine) -> Session:
    """Return a session of a tenant on an engine with options."""
    return Session(engine.execution_options(**options("red")))


def by_connection(engine: sa.Engine) -> Session:
    """Return a session of a tenant that gives the options to its connection."""
    session = Session(engine)
    session.connection(execution_options=options("red"))
    return session


def by_connection_with_snapshot(engine: sa.Engine) -> Session:
    """Return one that cannot see what is staged beside it, so that it leaves a note instead."""
    session = Session(engine)
    session.connection(execution_options={**options("red"), "isolation_level": "REPEATABLE READ"})
    session.scalars(sa.select(Document)).all()
    return session


@pytest.mark.parametrize("open_session", [by_engine, by_connection, by_connection_with_snapshot])
def test_row_of_a_tenant_keeps_its_object(engine: sa.Engine, open_session: Callable[[sa.Engine], Session]) -> None:
    """Sweeps of no other schema know of the object of a tenant's row, before and after the row is committed."""
    red = engine.execution_options(**options("red"))
    with open_session(engine) as session:
        session.add(Document(id=1, file=a_file("new")))
        session.flush()
        with engine.connect() as connection:
            assert connection.scalars(sa.select(NOTES.c.key)).all() == []
        age_and_sweep(engine)
        session.commit()
    age_and_sweep(engine)
    assert (states(red), states(engine)) == ([State.LINKED], [])
    assert [file.get_content() for file in files(red)] == [content_of("new")]


def test_only_the_tenants_have_tables(engine: sa.Engine) -> None:
    """A schema that nobody uses needs no ledger."""
    Base.metadata.drop_all(engine)
    with by_connection(engine) as session:
        session.add(Document(id=1, file=a_file("new")))
        session.commit()
    Base.metadata.create_all(engine)


def test_missing_ledger_of_a_tenant(engine: sa.Engine, backend: LocalBackend) -> None:
    """Nothing is stored for a tenant without a ledger, though there is one elsewhere."""
    red = engine.execution_options(**options("red"))
    LEDGER.drop(red)
    with by_engine(engine) as session:
        session.add(Document(id=1, file=a_file("new")))
        with pytest.raises(LedgerMissingError):
            session.commit()
    assert list(backend.list()) == []
    LEDGER.create(red)


async def test_upload_of_a_tenant(async_engine: AsyncEngine, engine: sa.Engine, backend: LocalBackend) -> None:
    """What is stored before there is a row is staged in the schema of the engine, and linked there."""
    tenant = async_engine.execution_options(**options("red"))
    file = await store_async(tenant, LEDGER, backend, b"x", NewFile(filename="x.txt"))
    red = engine.execution_options(**options("red"))
    assert (states(red), states(engine)) == ([State.STAGED], [])
    async with AsyncSession(async_engine) as session:
        _ = await session.connection(execution_options=options("red"))
        session.add(Document(id=1, file=file))
        await session.commit()
    assert states(red) == [State.LINKED]


@pytest.mark.parametrize("stored_for", [None, "blue"])
async def test_upload_for_another_schema(
    async_engine: AsyncEngine, backend: LocalBackend, stored_for: str | None
) -> None:
    """A row does not take what another schema's ledger will sweep."""
    other = async_engine if stored_for is None else async_engine.execution_options(**options(stored_for))
    file = await store_async(other, LEDGER, backend, b"x", NewFile(filename="x.txt"))
    async with AsyncSession(async_engine) as session:
        _ = await session.connection(execution_options=options("red"))
        session.add(Document(id=1, file=file))
        with pytest.raises(LedgerError):
            await session.commit()


async def test_reference_to_an_upload_for_another_schema(
    async_engine: AsyncEngine, engine: sa.Engine, backend: LocalBackend
) -> None:
    """Nor does it in a process that knows nothing of the upload but its key."""
    file = await store_async(async_engine, LEDGER, backend, b"x", NewFile(filename="x.txt"))
    with by_connection(engine) as session:
        session.add(Document(id=1, file=FileObject.from_dict(file.to_dict())))
        del file
        with pytest.raises(LedgerError, match="another schema"):
            session.commit()


async def test_uploads_of_tenants_do_not_share_transactions(async_engine: AsyncEngine, engine: sa.Engine) -> None:
    """Uploads that come at the same time are staged in their own schemas, each of which has one queue."""
    tenants = {each: async_engine.execution_options(**options(each)) for each in TENANTS}
    await asyncio.gather(
        *(
            intents_of(tenants[each], LEDGER).stage(ObjectKey(BACKEND, f"{each}{number}"))
            for number in range(5)
            for each in TENANTS
        )
    )
    for each in TENANTS:
        with engine.connect().execution_options(**options(each)) as connection:
            keys = connection.scalars(sa.select(LEDGER.c.key).order_by(LEDGER.c.key)).all()
        assert keys == [f"{each}{number}" for number in range(5)]
        assert intents_of(async_engine.execution_options(**options(each)), LEDGER) is intents_of(tenants[each], LEDGER)


def test_bulk_statement_with_a_map_of_its_own(engine: sa.Engine) -> None:
    """A statement that goes to another schema than its session is refused: the files would be those of wrong rows."""
    for session in (Session(engine), by_engine(engine)):
        with session:
            session.add(Document(id=1, file=a_file("new")))
            session.commit()
    with Session(engine) as session, pytest.raises(LedgerError, match="schema_translate_map"):
        session.execute(sa.delete(Document).execution_options(**options("red")))
    with by_engine(engine) as session:
        session.execute(sa.delete(Document), execution_options=options("red"))
        session.commit()
    assert len(files(engine)) == 1
    assert files(engine.execution_options(**options("red"))) == []


def test_search_path_of_a_session(engine: sa.Engine) -> None:
    """A session that chooses its schema so that nobody else can know it is refused."""
    with Session(engine) as session:
        session.execute(sa.text("SET search_path TO red"))
        session.add(Document(id=1, file=a_file("new")))
        with pytest.raises(LedgerError, match="search_path"):
            session.commit()


def test_file_of_a_session_that_went_to_another_schema(engine: sa.Engine) -> None:
    """What one tenant's session has stored and not committed cannot become another one's."""
    file = a_file("new")
    with by_connection(engine) as session:
        session.add(Document(id=1, file=file))
        session.flush()
        session.rollback()
    with Session(engine) as session:
        session.add(Document(id=1, file=file))
        with pytest.raises(ConflictError):
            session.commit()
