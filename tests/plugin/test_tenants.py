"""One engine with a schema_translate_map for each tenant: places, sweeps and uploads are those of its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, MemoryBackend, StoredObject, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import ConfigurationError, LedgerMissingError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.places import find_places
from litestar_filestore.plugin.sweeper import sweep_places
from litestar_filestore.uploads.storing import ApplicationStorer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKEND = "tenants"


class Base(DeclarativeBase):
    pass


class Contract(Base):
    __tablename__ = "tenants_contract"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


@pytest.fixture
def backend() -> Iterator[MemoryBackend]:
    """The store of both tenants."""
    backend = MemoryBackend(BACKEND)
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(BACKEND)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database file with two more, attached as schemas, for the tenants."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/main.db")

    @event.listens_for(engine, "connect")
    def attach(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        for name in ("red", "blue"):
            cursor.execute(f"ATTACH '{tmp_path}/{name}.db' AS {name}")
        cursor.close()

    yield engine
    engine.dispose()


@pytest.fixture
def tenants(engine: sa.Engine) -> list[sa.Engine]:
    """An engine for each tenant, with tables."""
    tenants: list[sa.Engine] = [engine.execution_options(schema_translate_map={None: name}) for name in ("red", "blue")]
    for tenant in tenants:
        Base.metadata.create_all(tenant)
    return tenants


async def test_every_tenant_is_swept(tenants: list[sa.Engine], backend: MemoryBackend) -> None:
    """The engines of all tenants in `LedgerConfig.databases` are as many places, and each is swept."""
    for tenant in tenants:
        with Session(tenant) as session:
            session.add_all(Contract(id=each, file=FileObject(BACKEND, "a.txt", content=b"a")) for each in (1, 2))
            session.commit()
            session.delete(session.get_one(Contract, 1))
            session.commit()
    places = await find_places(tenants)
    assert [place.database for place in places] == tenants
    assert (await sweep_places(places, storages, LedgerConfig(tenants))).deleted == 2
    assert len(list(backend.list())) == 2


@pytest.mark.usefixtures("tenants")
async def test_schema_without_tables_is_no_place(engine: sa.Engine) -> None:
    """The engine without a map means the schema that none of the tenants has."""
    assert await find_places([engine.execution_options(schema_translate_map={"other": "red"})]) == []


async def test_tenant_without_ledger(tenants: list[sa.Engine]) -> None:
    """A tenant whose schema lacks the ledger keeps the application from starting, though the others have it."""
    Base.metadata.tables["filestore_object"].drop(tenants[1])
    with pytest.raises(LedgerMissingError):
        await find_places(tenants)


async def test_upload_of_no_tenant(tenants: list[sa.Engine], backend: MemoryBackend) -> None:
    """A request's upload could be any tenant's: it is refused instead of stored for the wrong one."""
    storer = ApplicationStorer()
    storer.open(await find_places(tenants))
    with pytest.raises(ConfigurationError, match="several databases"):
        await storer.store(backend, b"a", NewFile(filename="a.txt", model=Contract))
