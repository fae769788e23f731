"""Databases and a store for the tests of the columns, and the check that both agree after each test."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from litestar_filestore import StorageBackend, storages
from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.testing import FaultyDriver
from litestar_filestore.tracking.deletes import retry_deletes
from tests.orm.databases import Database, keys_in, keys_in_rows, open_database
from tests.orm.models import BACKEND, Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import DeclarativeBase

    from tests.servers.postgres import PostgresServer

DATABASES = ("sqlite", "aiosqlite", "psycopg", "asyncpg")


@pytest.fixture
def driver() -> FaultyDriver:
    """The driver of the store: in memory, and failing when a test plans it."""
    return FaultyDriver(MemoryDriver())


@pytest.fixture
def backend(driver: FaultyDriver) -> Iterator[StorageBackend]:
    """The store, registered for the time of a test."""
    backend = StorageBackend(BACKEND, driver=driver)
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(BACKEND)


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> str:
    """Name of an empty database that the tests of the columns have for themselves."""
    name = f"orm_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    return name


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The models of a test; modules with models of their own override it."""
    return Base


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return the URL of a database by the name of its driver."""

    def url_of(name: str) -> str:
        if name == "sqlite":
            return f"sqlite:///{tmp_path}/test.db"
        if name == "aiosqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/test.db"
        server: PostgresServer = request.getfixturevalue("postgres_server")
        database: str = request.getfixturevalue("postgres_database")
        return server.url("asyncpg" if name == "asyncpg" else "psycopg", database)

    return url_of


@pytest.fixture(params=DATABASES)
def db(
    request: pytest.FixtureRequest,
    url_of: Callable[[str], str],
    base: type[DeclarativeBase],
    backend: StorageBackend,
    driver: FaultyDriver,
) -> Iterator[Database]:
    """A database with the tables of `base`. In the end the keys in its rows are the keys in the store."""
    db = open_database(url_of(request.param), base)
    try:
        yield db
        driver.plan.clear()
        db.settle()
        assert keys_in(backend) == keys_in_rows(db)
    finally:
        driver.plan.clear()
        retry_deletes()
        db.close()
