"""An outage does not keep an application from starting, and a mistake in its set-up does."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, cast

import httpx
import pytest
import sqlalchemy as sa
from httpx import ASGITransport
from litestar import Litestar
from sqlalchemy import exc

from litestar_filestore import FilestoreConfig, FilestorePlugin, MemoryBackend, StorageBackend, StorageError
from litestar_filestore.errors import AccessDeniedError, AuthenticationError, BucketNotFoundError
from litestar_filestore.ledger.ledger_config import Database, LedgerConfig
from tests.plugin.outage_app import Base, create_app, engine_for, s3_backend
from tests.servers.chaos import ThreadedProxy
from tests.servers.postgres import PostgresServer
from tests.servers.processes import HOST
from tests.servers.s3 import S3Server

PATIENCE = 30.0
"""Seconds after which a test fails; drivers wait for a minute, or for ever."""
Driver = Literal["asyncpg", "psycopg"]
DRIVERS = pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])


@asynccontextmanager
async def running(app: Litestar, engine: Database | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application, and dispose of its engine afterwards."""
    try:
        # A test client would run it in another thread.
        transport = ASGITransport(cast("Any", app))  # httpx describes ASGI in other words
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
    finally:
        if isinstance(engine, sa.Engine):
            engine.dispose()
        elif engine is not None:
            await engine.dispose()


def url_behind(postgres: ThreadedProxy, driver: str, name: str) -> str:
    """Return the URL of a database by way of the proxy."""
    return f"postgresql+{driver}://postgres@{HOST}:{postgres.port}/{name}"


async def told(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Return when the log has a text."""
    async with asyncio.timeout(PATIENCE):
        while text not in caplog.text:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.05)


def warnings(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """Return the warnings that hold a text."""
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING and text in each.message]


async def upload(client: httpx.AsyncClient) -> httpx.Response:
    """Store a file in a row."""
    return await client.post("/papers", files={"file": ("a.txt", b"Some text.")})


async def refusal(app: Litestar, engine: Database | None = None) -> BaseException:
    """Return what keeps an application from starting."""
    with pytest.raises((StorageError, exc.DBAPIError, ExceptionGroup)) as raised:
        await running(app, engine).__aenter__()
    error: BaseException = raised.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions  # Litestar puts each layer of its lifespan around it
    return error


async def emptied(backend: StorageBackend) -> None:
    """Return when a backend holds nothing."""
    async with asyncio.timeout(PATIENCE):
        while list(backend.list()):  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Have the log of the package, also what is for those who look closely."""
    with caplog.at_level(logging.INFO, "litestar_filestore"):
        yield


def app_with(store: Any, **config: Any) -> Litestar:
    """Return an application with one backend and no rows."""
    return Litestar([], plugins=[FilestorePlugin(FilestoreConfig([store], ledger=None, **config))], logging_config=None)


async def test_a_store_that_is_away_is_logged_once_and_found_when_it_is_back(
    store: ThreadedProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The application starts without it."""
    store.refuse()
    async with running(app_with(s3_backend(f"http://{HOST}:{store.port}"))):
        assert len(warnings(caplog, "The store of 'outages' is away")) == 1
        store.accept()
        await told(caplog, "The store of 'outages' is back")
    assert len(warnings(caplog, "The store of 'outages' is away")) == 1


@pytest.mark.slow
async def test_a_silent_store_delays_the_start_by_seconds(
    store: ThreadedProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The start does not wait for the time limits of the store's client."""
    store.hold()
    async with asyncio.timeout(15), running(app_with(s3_backend(f"http://{HOST}:{store.port}"))):
        assert warnings(caplog, "did not answer within 5 s")
        store.drop()


async def test_a_missing_bucket_stops_the_start(moto_server: S3Server) -> None:
    """No time will mend it."""
    backend = s3_backend(moto_server.endpoint)
    backend = type(backend)("outages", "s3://no-such-bucket/", **backend.options)
    assert isinstance(await refusal(app_with(backend)), BucketNotFoundError)


@contextmanager
def refusing(status: str, code: str) -> Iterator[str]:
    """Run a service that gives every request the same answer, and yield its URL."""
    body = f"<Error><Code>{code}</Code></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # shut down by the test
                return
            with connection, connection.makefile("rb") as request:
                while request.readline() not in {b"\r\n", b""}:
                    pass
                connection.sendall(head + body)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_a_store_that_refuses_everything_stops_the_start() -> None:
    """An answer of 403 to whatever is asked is not that to an account that may not list."""
    with refusing("403 Forbidden", "AccessDenied") as endpoint:
        error = await refusal(app_with(s3_backend(endpoint)))
    assert isinstance(error, AccessDeniedError)
    assert "permission" in error.detail


async def test_refused_credentials_stop_the_start() -> None:
    """They will not get better by waiting."""
    with refusing("403 Forbidden", "SignatureDoesNotMatch") as endpoint:
        assert isinstance(await refusal(app_with(s3_backend(endpoint))), AuthenticationError)


async def test_a_store_that_fails_does_not_stop_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """A status of the 500s is an outage."""
    with refusing("503 Slow Down", "SlowDown") as endpoint:
        async with running(app_with(s3_backend(endpoint, retry_config={"max_retries": 0}))):
            assert warnings(caplog, "The store of 'outages' is away")


@DRIVERS
async def test_a_database_that_is_away_is_found_when_it_is_back(
    driver: str, postgres: ThreadedProxy, migrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The application starts without it, answers uploads 503 meanwhile, and takes them afterwards."""
    postgres.refuse()
    engine = engine_for(url_behind(postgres, driver, migrated))
    async with running(create_app(MemoryBackend("outages"), engine), engine) as client:
        answers = [await client.get("/ping"), await upload(client)]
        assert [each.status_code for each in answers] == [200, 503]
        assert int(answers[1].headers["retry-after"]) > 0
        postgres.accept()
        await told(caplog, "is there, with 1 ledgers")
        assert (await upload(client)).status_code == 201
    assert len(warnings(caplog, "is away")) == 1


@DRIVERS
async def test_a_database_that_is_back_is_swept(
    driver: str, postgres: ThreadedProxy, migrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What rows give up after an outage at the start is deleted without another start."""
    postgres.refuse()
    engine = engine_for(url_behind(postgres, driver, migrated))
    backend = MemoryBackend("outages")
    async with running(create_app(backend, engine), engine) as client:
        postgres.accept()
        await told(caplog, "is there, with 1 ledgers")
        number = (await upload(client)).json()
        await client.post(f"/papers/{number}/clear")
        await emptied(backend)


@pytest.mark.slow
@DRIVERS
async def test_a_silent_database_delays_the_start_by_seconds(
    driver: str, postgres: ThreadedProxy, migrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The start does not wait for the driver, which waits for a minute or for ever."""
    postgres.hold()
    engine = engine_for(url_behind(postgres, driver, migrated))
    async with asyncio.timeout(PATIENCE), running(create_app(MemoryBackend("outages"), engine), engine) as client:
        assert (await client.get("/ping")).status_code == 200
        assert warnings(caplog, "is away")
        postgres.drop()
        postgres.release()


@DRIVERS
async def test_an_unknown_database_stops_the_start(driver: Driver, postgres_server: PostgresServer) -> None:
    """The server answers, and says that there is no such database."""
    engine = engine_for(postgres_server.url(driver, "no_such_database"))
    assert "does not exist" in str(await refusal(create_app(MemoryBackend("outages"), engine), engine))


@DRIVERS
async def test_a_migration_after_the_start_is_noticed(
    driver: Driver, postgres_server: PostgresServer, database_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that starts before its migration says so once, and sweeps as soon as the tables are there."""
    url = postgres_server.url("psycopg", database_name)
    engine = engine_for(postgres_server.url(driver, database_name))
    backend = MemoryBackend("outages")
    async with running(create_app(backend, engine), engine) as client:
        assert len(warnings(caplog, "There is no ledger in")) == 1
        migration = sa.create_engine(url)
        Base.metadata.create_all(migration)
        migration.dispose()
        await told(caplog, "is there, with 1 ledgers")
        number = (await upload(client)).json()
        await client.post(f"/papers/{number}/clear")
        await emptied(backend)
    assert len(warnings(caplog, "There is no ledger in")) == 1


async def test_databases_that_hold_no_files_are_not_missed(
    postgres_server: PostgresServer, database_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without file columns in any class of the application's own databases there is nothing to say."""
    engine = engine_for(postgres_server.url("asyncpg", database_name))
    config = FilestoreConfig([MemoryBackend("outages")], ledger=LedgerConfig(databases=()))
    async with running(Litestar([], plugins=[FilestorePlugin(config)], logging_config=None), engine):
        assert not warnings(caplog, "There is no ledger in")
