"""A backend on the disk and an application around it; PostgreSQL and a bucket behind proxies that take them away."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend
from litestar_filestore.ledger.ledger_config import Database
from tests.ledger.world import World
from tests.plugin.outage_app import BUCKET, Base
from tests.plugin.sweeping import TellingDriver
from tests.servers.chaos import ThreadedProxy, running_proxy
from tests.servers.postgres import PostgresServer
from tests.servers.processes import HOST
from tests.servers.s3 import S3Server

Serve = Callable[..., TestClient[Litestar]]

PRIVATE = "known to the application only"


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    """A folder of this test."""
    return LocalBackend("documents", tmp_path / "documents")


@pytest.fixture
def file(backend: LocalBackend) -> FileObject:
    """A stored file with a name that is not ASCII, and with metadata that clients must not see."""
    return FileObject(backend, "résumé.pdf", content=b"%PDF-1.7", metadata={"note": PRIVATE}).save()


@pytest.fixture
def serve(backend: LocalBackend) -> Iterator[Serve]:
    """Start applications around the backend; they are stopped after the test."""
    with ExitStack() as stack:

        def start(
            handlers: list[Any], *, config: FilestoreConfig | None = None, plugins: Any = (), **options: Any
        ) -> TestClient[Litestar]:
            plugin = FilestorePlugin(config or FilestoreConfig([backend]))
            app = Litestar(handlers, plugins=[*plugins, plugin], **options)
            return stack.enter_context(TestClient(app))

        yield start


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


@pytest.fixture(scope="session")
def bucket(moto_server: S3Server) -> S3Server:
    """A server with the bucket of the tests."""
    moto_server.create_bucket(BUCKET)
    return moto_server


@pytest.fixture
def store(bucket: S3Server) -> Iterator[ThreadedProxy]:
    """A proxy in front of the bucket."""
    with running_proxy(HOST, urlsplit(bucket.endpoint).port or 0) as faults:
        yield faults


@pytest.fixture
def database_name(postgres_server: PostgresServer) -> str:
    """A new database, without tables."""
    name = f"outages_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    return name


@pytest.fixture
def migrated(postgres_server: PostgresServer, database_name: str) -> str:
    """A new database with all tables."""
    engine = sa.create_engine(postgres_server.url("psycopg", database_name))
    Base.metadata.create_all(engine)
    engine.dispose()
    return database_name


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[ThreadedProxy]:
    """A proxy in front of the databases."""
    with running_proxy(HOST, postgres_server.port) as faults:
        yield faults
