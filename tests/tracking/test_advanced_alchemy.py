"""Models, repositories, services and session configurations of Advanced Alchemy; `db` compares store and rows."""

from typing import Any

import pytest
import sqlalchemy as sa
from advanced_alchemy.base import BigIntAuditBase, BigIntBase, UUIDAuditBase, UUIDBase
from advanced_alchemy.config import SQLAlchemyAsyncConfig, SQLAlchemySyncConfig
from advanced_alchemy.exceptions import IntegrityError
from advanced_alchemy.repository import SQLAlchemyAsyncRepository, SQLAlchemySyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService, SQLAlchemySyncRepositoryService
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, FileObjectList, StorageBackend, StoredObject
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver
from tests.orm.databases import AsyncDatabase, Database, SyncDatabase, keys_in_rows
from tests.orm.models import BACKEND, a_file


class HasFile:
    """The columns that all models of this module have."""

    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True))


class Uuid(HasFile, UUIDBase):
    __tablename__ = "aa_uuid"


class UuidAudit(HasFile, UUIDAuditBase):
    __tablename__ = "aa_uuid_audit"


class BigInt(HasFile, BigIntBase):
    __tablename__ = "aa_big_int"


class BigIntAudit(HasFile, BigIntAuditBase):
    __tablename__ = "aa_big_int_audit"


class Only(DeclarativeBase):
    """A base with the tables above alone: the metadata of Advanced Alchemy is everybody's."""


for _model in (Uuid, UuidAudit, BigInt, BigIntAudit):
    _model.__table__.to_metadata(Only.metadata)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
for _table in [table for table in Uuid.metadata.sorted_tables if table.name == "filestore_object"]:
    if _table.name not in Only.metadata.tables:
        _table.to_metadata(Only.metadata)


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The tables of this module."""
    return Only


class SyncRepository(SQLAlchemySyncRepository[UuidAudit]):
    model_type = UuidAudit


class AsyncRepository(SQLAlchemyAsyncRepository[UuidAudit]):
    model_type = UuidAudit


class SyncService(SQLAlchemySyncRepositoryService[UuidAudit]):
    repository_type = SyncRepository


class AsyncService(SQLAlchemyAsyncRepositoryService[UuidAudit]):
    repository_type = AsyncRepository


class Unit:
    """Calls methods of a repository or service, sync or async, in one session that it commits in the end."""

    def __init__(self, db: Database, sync: Any, async_: Any, add: str, add_many: str) -> None:
        self._db = db
        self._sync = sync
        self._async = async_
        self.add = add
        self.add_many = add_many

    def run(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Call methods with keyword arguments and return their results."""
        if isinstance(self._db, AsyncDatabase):
            return self._db.runner.run(self._run_async(self._db, calls))
        assert isinstance(self._db, SyncDatabase)
        with Session(self._db.engine) as session:
            target = self._sync(session=session)
            results = [getattr(target, name)(**arguments) for name, arguments in calls]
            session.commit()
            return results

    async def _run_async(self, db: AsyncDatabase, calls: tuple[tuple[str, dict[str, Any]], ...]) -> list[Any]:
        async with AsyncSession(db.async_engine) as session:
            target = self._async(session=session)
            results = [await getattr(target, name)(**arguments) for name, arguments in calls]
            await session.commit()
            return results


@pytest.fixture(params=["repository", "service"])
def unit(request: pytest.FixtureRequest, db: Database) -> Unit:
    """A repository or a service."""
    if request.param == "repository":
        return Unit(db, SyncRepository, AsyncRepository, "add", "add_many")
    return Unit(db, SyncService, AsyncService, "create", "create_many")


def a_row(name: str = "a", content: bytes = b"content", **values: Any) -> UuidAudit:
    """Make a row with a file that is still to be stored."""
    return UuidAudit(name=name, file=a_file(content), **values)


def ids(db: Database) -> dict[str, Any]:
    """Return the primary keys of all rows by their names."""
    return db.run(lambda session: {row.name: row.id for row in session.scalars(sa.select(UuidAudit))})


def contents(db: Database, backend: StorageBackend) -> dict[str, bytes]:
    """Return the contents of all rows by their names."""

    def read(session: Session) -> dict[str, str]:
        return {row.name: row.file.path for row in session.scalars(sa.select(UuidAudit)) if row.file is not None}

    return {name: backend.get_content(key) for name, key in db.run(read).items()}


# -- bases


@pytest.mark.parametrize("model", [Uuid, UuidAudit, BigInt, BigIntAudit])
def test_base(db: Database, backend: StorageBackend, model: Any) -> None:
    """Rows of every base are stored, replaced, edited and deleted."""

    def work(session: Session) -> None:
        session.add(row := model(name="a", file=a_file(), pages=[a_file()]))
        session.commit()
        row.file = a_file(b"new")
        row.pages.append(a_file())
        session.commit()
        session.delete(row)
        session.commit()

    db.run(work)
    assert keys_in_rows(db) == set()


# -- repositories and services


@pytest.fixture
def rows(db: Database, unit: Unit) -> dict[str, Any]:
    """Two rows, ``a`` and ``b``, with files of one name; their primary keys."""
    unit.run((unit.add_many, {"data": [a_row("a", b"1"), a_row("b", b"2")]}))
    return ids(db)


def test_add(db: Database, unit: Unit, backend: StorageBackend) -> None:
    """One row and its file."""
    unit.run((unit.add, {"data": a_row("a", b"1")}))
    assert contents(db, backend) == {"a": b"1"}


def test_add_many(db: Database, rows: dict[str, Any], backend: StorageBackend) -> None:
    """Several rows with files of one name."""
    assert contents(db, backend) == {"a": b"1", "b": b"2"}


def test_update(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """A new file replaces the old one."""
    unit.run(("update", {"data": UuidAudit(id=rows["a"], name="a", file=a_file(b"new"))}))
    assert contents(db, backend) == {"a": b"new", "b": b"2"}


def test_upsert_of_a_row_that_is_there(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """It replaces, as `update` does."""
    unit.run(("upsert", {"data": UuidAudit(id=rows["a"], name="a", file=a_file(b"new"))}))
    assert contents(db, backend) == {"a": b"new", "b": b"2"}


def test_upsert_of_a_new_row(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """It adds, as `add` does."""
    unit.run(("upsert", {"data": a_row("c", b"3")}))
    assert contents(db, backend) == {"a": b"1", "b": b"2", "c": b"3"}


def test_get_or_upsert(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """A match by name gets the new file."""
    unit.run(("get_or_upsert", {"match_fields": ["name"], "name": "a", "file": a_file(b"new")}))
    assert contents(db, backend) == {"a": b"new", "b": b"2"}


def test_delete(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """The object goes with its row, the other of the same name stays."""
    unit.run(("delete", {"item_id": rows["a"]}))
    assert contents(db, backend) == {"b": b"2"}


def test_unique_violation(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """The error is Advanced Alchemy's, and no bytes stay."""
    with pytest.raises(IntegrityError):
        unit.run((unit.add, {"data": a_row("a", b"again")}))
    assert contents(db, backend) == {"a": b"1", "b": b"2"}


def test_failing_store(db: Database, unit: Unit, driver: FaultyDriver, backend: StorageBackend) -> None:
    """The caller sees the store's error, and nothing was committed."""
    driver.plan.append(Fault("put", BackendUnavailableError("The store is down")))
    with pytest.raises(BackendUnavailableError):
        unit.run((unit.add, {"data": a_row("a", b"1")}))
    assert contents(db, backend) == {}


def test_row_switched_by_services(db: Database, unit: Unit, rows: dict[str, Any], backend: StorageBackend) -> None:
    """Delete and add in one session."""
    unit.run(("delete", {"item_id": rows["a"]}), (unit.add, {"data": a_row("a", b"again")}))
    assert contents(db, backend) == {"a": b"again", "b": b"2"}


# -- session configurations


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
@pytest.mark.parametrize("listens", [True, False])
def test_sync_configuration(db: Database, backend: StorageBackend, listens: bool) -> None:  # noqa: FBT001
    """Sessions of `SQLAlchemySyncConfig` work, with and without its own listener for its own files."""
    assert isinstance(db, SyncDatabase)
    config = SQLAlchemySyncConfig(engine_instance=db.engine, enable_file_object_listener=listens)
    with config.get_session() as session:
        session.add(a_row("a", b"1"))
        session.commit()
        session.scalars(sa.select(UuidAudit)).one().file = a_file(b"new")
        session.commit()
    assert contents(db, backend) == {"a": b"new"}


@pytest.mark.parametrize("db", ["aiosqlite", "asyncpg"], indirect=True)
@pytest.mark.parametrize("listens", [True, False])
def test_async_configuration(db: Database, backend: StorageBackend, listens: bool) -> None:  # noqa: FBT001
    """Sessions of `SQLAlchemyAsyncConfig` work, with and without its own listener."""
    assert isinstance(db, AsyncDatabase)
    config = SQLAlchemyAsyncConfig(engine_instance=db.async_engine, enable_file_object_listener=listens)

    async def main() -> None:
        async with config.get_session() as session:
            session.add(a_row("a", b"1"))
            await session.commit()
            (await session.scalars(sa.select(UuidAudit))).one().file = a_file(b"new")
            await session.commit()

    db.runner.run(main())
    assert contents(db, backend) == {"a": b"new"}
