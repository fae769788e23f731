"""What clients are told when the database is away, busy or full."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.di import Provide
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, MemoryBackend, create_file_router
from litestar_filestore.errors import DatabaseFullError, DatabaseUnavailableError, StorageError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.outages import translate_database_error
from tests.plugin.outage_app import Base, Paper, create_app, engine_for
from tests.plugin.test_start_outages import DRIVERS, Driver, running, upload, url_behind
from tests.servers.chaos import ThreadedProxy
from tests.servers.postgres import PostgresServer

SQLITE = pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])


def trigger(url: str, statement: str) -> None:
    """Change a database beside the application."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


@DRIVERS
async def test_a_database_that_goes_away_is_503(driver: str, postgres: ThreadedProxy, migrated: str) -> None:
    """An upload that cannot be staged is answered as one to a store that is away, and works when it is back."""
    engine = engine_for(url_behind(postgres, driver, migrated))
    async with running(create_app(MemoryBackend("outages"), engine, run_sweeper=False), engine) as client:
        assert (await upload(client)).status_code == 201
        postgres.refuse()
        postgres.drop()
        answer = await upload(client)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        postgres.accept()
        assert (await upload(client)).status_code == 201


@DRIVERS
async def test_a_full_database_is_507(driver: Driver, postgres_server: PostgresServer, migrated: str) -> None:
    """PostgreSQL's disk_full is no mistake of the application."""
    trigger(
        postgres_server.url("psycopg", migrated),
        "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no space left on device' "
        "USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON filestore_object FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    engine = engine_for(postgres_server.url(driver, migrated))
    backend = MemoryBackend("outages")
    async with running(create_app(backend, engine, run_sweeper=False), engine) as client:
        answer = await upload(client)
    assert (answer.status_code, list(backend.list())) == (507, [])


@SQLITE
async def test_a_full_sqlite_file_is_507(driver: str, tmp_path: Path) -> None:
    """So is SQLite's."""
    url = f"sqlite:///{tmp_path}/papers.db"
    prepared = sa.create_engine(url)
    Base.metadata.create_all(prepared)
    prepared.dispose()
    engine = engine_for(f"{driver}:///{tmp_path}/papers.db")

    def limit(connection: Any, _record: object) -> None:
        # The limit is the connection's, and cannot be less than what there is: the next page does not fit.
        connection.execute("PRAGMA max_page_count = 1")

    sync = getattr(engine, "sync_engine", engine)
    event.listen(sync, "connect", limit)
    backend = MemoryBackend("outages")
    async with running(create_app(backend, engine, run_sweeper=False), engine) as client:
        files = {"file": ("a.txt", b"Some text.")}
        # No session of the application takes part: what it met would be its own to answer.
        answers = {(await client.post("/kept", files=files)).status_code for _ in range(60)}
    assert answers <= {201, 507}
    assert 507 in answers


@pytest.mark.matrix(cases=1)
@SQLITE
async def test_a_locked_sqlite_file_is_503(driver: str, tmp_path: Path) -> None:
    """Somebody else writes for longer than an upload waits."""
    url = f"sqlite:///{tmp_path}/papers.db"
    prepared = sa.create_engine(url)
    Base.metadata.create_all(prepared)
    prepared.dispose()
    engine = engine_for(f"{driver}:///{tmp_path}/papers.db")
    async with running(create_app(MemoryBackend("outages"), engine, run_sweeper=False), engine) as client:
        writer = sqlite3.connect(tmp_path / "papers.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        answer = await upload(client)
        writer.execute("ROLLBACK")
        writer.close()
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
async def test_many_writers_on_sqlite(driver: str, tmp_path: Path) -> None:
    """Uploads that come together write in turn, although each connection waits for the lock only for a moment."""
    engine = engine_for(f"{driver}:///{tmp_path}/papers.db", connect_args={"timeout": 0.05})
    backend = MemoryBackend("outages")
    prepared = sa.create_engine(f"sqlite:///{tmp_path}/papers.db")
    Base.metadata.create_all(prepared)
    async with running(create_app(backend, engine, run_sweeper=False), engine) as client:
        answers = await asyncio.gather(*(upload(client) for _ in range(32)))
    assert [answer.status_code for answer in answers] == [201] * 32
    with prepared.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Paper)) == len(list(backend.list())) == 32
    prepared.dispose()


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
async def test_a_session_that_meets_a_lock_is_503(driver: str, tmp_path: Path) -> None:
    """Another process writes, and the application's own transaction cannot wait any longer."""
    engine = engine_for(f"{driver}:///{tmp_path}/papers.db", connect_args={"timeout": 0.05})
    prepared = sa.create_engine(f"sqlite:///{tmp_path}/papers.db")
    Base.metadata.create_all(prepared)
    prepared.dispose()
    async with running(create_app(MemoryBackend("outages"), engine, run_sweeper=False), engine) as client:
        number = (await upload(client)).text
        writer = sqlite3.connect(tmp_path / "papers.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        answer = await client.post(f"/papers/{number}/clear")
        writer.close()
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert (await client.post(f"/papers/{number}/clear")).status_code == 201


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_the_router_of_a_column_answers_503(
    method: str, postgres: ThreadedProxy, postgres_server: PostgresServer, migrated: str
) -> None:
    """A session of the application that the router uses meets the outage, and the router says so."""
    backend = MemoryBackend("outages")
    engine = create_async_engine(url_behind(postgres, "asyncpg", migrated))

    async def provide_session() -> Any:
        async with AsyncSession(engine) as session:
            yield session

    router = create_file_router("/papers/{id:int}/file", Paper.file, methods=["GET", "PUT", "DELETE"], public=True)
    plugin = FilestorePlugin(FilestoreConfig([backend], ledger=LedgerConfig(databases=[engine], run_sweeper=False)))
    app = Litestar(
        [router], dependencies={"db_session": Provide(provide_session)}, plugins=[plugin], logging_config=None
    )
    async with running(app, engine) as client:
        direct = sa.create_engine(postgres_server.url("psycopg", migrated))
        with Session(direct) as session:
            session.add(paper := Paper(file=FileObject(backend, "a.txt", content=b"abc")))
            session.commit()
            number = paper.id
        direct.dispose()
        assert (await client.get(f"/papers/{number}/file")).status_code == 200
        postgres.refuse()
        postgres.drop()
        answer = await client.request(method, f"/papers/{number}/file", content=b"x" if method == "PUT" else None)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


class _Asked(Exception):  # noqa: N818  # stands for a driver's class
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class MySQLError(Exception):
    """Named as the parent of all errors of the drivers of MySQL."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_Asked("57P03"), DatabaseUnavailableError),
        (_Asked("53300"), DatabaseUnavailableError),
        (_Asked("25006"), DatabaseUnavailableError),
        (_Asked("53100"), DatabaseFullError),
        (_Asked("28P01"), None),
        (_Asked("42P01"), None),
        (MySQLError(2013, "Lost connection"), DatabaseUnavailableError),
        (MySQLError(1021, "Disk full"), DatabaseFullError),
        (MySQLError(1045, "Access denied"), None),
        (ConnectionRefusedError(111, "refused"), DatabaseUnavailableError),
        (FileNotFoundError(2, "No such file or directory"), DatabaseUnavailableError),
        (FileNotFoundError(2, "No such file or directory", "/etc/certificate.pem"), None),
        (exc.TimeoutError("QueuePool limit"), DatabaseUnavailableError),
        (ValueError("database is locked"), None),
    ],
)
def test_what_errors_of_drivers_mean(error: Exception, expected: type[StorageError] | None) -> None:
    """By code where there is one: a refused password is not an outage."""
    translated = translate_database_error(error)
    assert (None if translated is None else type(translated)) is expected
