"""Databases with rows, ledger and store for the tests of the ledger."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from litestar_filestore.ledger.points import on_point
from tests.ledger.arena import Arena, ForkServer, fork_server
from tests.ledger.async_world import AsyncWorld
from tests.ledger.models import Base
from tests.ledger.places import async_url, prepare
from tests.ledger.world import World
from tests.servers import postgres
from tests.servers.processes import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.ledger.async_world import Half
    from tests.ledger.matrix import Driver
    from tests.servers.mariadb import MariadbServer
    from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Starts the processes that get killed."""
    with fork_server() as server:
        yield server


@pytest.fixture(scope="module")
def arena_of(
    request: pytest.FixtureRequest, forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Driver], Arena]]:
    """Return the arena of a driver, made when it is first wanted."""
    arenas: dict[Driver, Arena] = {}

    def arena_of(driver: Driver) -> Arena:
        if driver not in arenas:
            directory = tmp_path_factory.mktemp(driver)
            if driver in {"sqlite", "aiosqlite"}:
                url = f"sqlite{'+aiosqlite' if driver == 'aiosqlite' else ''}:///{directory}/test.db"
            elif driver in {"psycopg", "asyncpg"}:
                url = request.getfixturevalue("postgres_url")
            else:
                url = request.getfixturevalue("mariadb_url")
            if driver in {"asyncpg", "aiomysql"}:
                url = async_url(url)
            arenas[driver] = Arena(driver, url, forks, directory)
        return arenas[driver]

    yield arena_of
    for arena in arenas.values():
        arena.close()


@pytest.fixture(scope="module")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of a database that the tests of a module have for themselves."""
    name = f"ledger_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    return postgres_server.url("psycopg", name)


@pytest.fixture(scope="module")
def serializable_url(postgres_server: PostgresServer) -> str:
    """URL of a database where each transaction is SERIALIZABLE, ours and those of the application."""
    name = f"serializable_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    url = postgres_server.url("psycopg", name)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def cockroach_url(postgres_url: str) -> str:
    """URL of a database of PostgreSQL that passes for one of CockroachDB."""
    return postgres_url.replace("postgresql+", "cockroachdb+")


@pytest.fixture(scope="module")
def mariadb_url(mariadb_server: MariadbServer) -> str:
    """URL of a database that the tests of a module have for themselves."""
    name = f"ledger_{uuid.uuid4().hex}"
    mariadb_server.create_database(name)
    return mariadb_server.url("pymysql", name)


@pytest.fixture(scope="session")
def two_phase_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that lets transactions be prepared, which is off by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres.SETTINGS, "max_prepared_transactions", "4")
        with require(postgres.serve, tmp_path_factory.mktemp("two-phase")) as server:
            yield server


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database for one test, once for each kind.

    Modules may ask for other kinds: ``serializable`` is PostgreSQL where each transaction is SERIALIZABLE, and
    ``cockroach`` is PostgreSQL under the name of CockroachDB's dialect.
    """
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    kind = {"postgresql": "postgres"}.get(request.param, request.param)
    found: str = request.getfixturevalue(f"{kind}_url")
    return found


@pytest.fixture
def half() -> Half:
    """The half in which `World.run` works; modules whose tests are for both are parametrised with it."""
    return "sync"


@pytest.fixture
def world(url: str, half: Half, tmp_path: Path) -> Iterator[World]:
    """Empty tables and an empty store. In the end nothing is damaged, and sweeps leave nothing over."""
    engine = prepare(sa.create_engine(url))
    world = World(engine, tmp_path / "store")
    if half == "async":
        world = AsyncWorld(engine, tmp_path / "store", async_url(url))
    Base.metadata.drop_all(engine)
    world.create()
    try:
        yield world
        world.register()
        assert world.damage() == []
        world.recover()
        assert world.leftovers() == []
    finally:
        on_point(None)
        world.close()
        engine.dispose()


@pytest.fixture
def seeded(world: World) -> World:
    """`world` with the rows of `SEED`."""
    world.seed()
    return world
