"""The ledger behind PgBouncer in transaction mode, with both drivers set up as the page on large installations says."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from litestar_filestore import FileObject, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.ledger import reserves
from litestar_filestore.ledger.intents import store_async
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepConfig, sweep_async
from tests import reservations
from tests.ledger.models import BACKEND, Base, Document, a_file, content_of
from tests.ledger.world import LEDGER, World
from tests.servers import pgbouncer
from tests.servers.processes import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.servers.postgres import PostgresServer

CLIENTS = 8
TURNS = 4


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL as it is seen through PgBouncer."""
    with require(
        lambda directory: pgbouncer.serve(directory, postgres_server), tmp_path_factory.mktemp("bouncer")
    ) as it:
        yield it


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(
    request: pytest.FixtureRequest, bouncer: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncEngine]:
    """The engine of an application under load, with more connections than PgBouncer has."""
    monkeypatch.setattr(reserves, reservations.WINDOW, 60.0)
    database = str(sa.make_url(postgres_url).database)
    url = bouncer.url(request.param, database)
    engine = create_async_engine(url, connect_args=pgbouncer.OPTIONS[request.param], pool_size=CLIENTS)
    yield engine
    await engine.dispose()


@pytest.fixture
def world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """The tables, looked at without PgBouncer. In the end rows, ledger and objects fit together."""
    world = World(sa.create_engine(postgres_url), tmp_path / "store")
    Base.metadata.drop_all(world.engine)
    world.create()
    yield world
    assert world.damage() == []
    world.recover()
    assert world.leftovers() == []
    world.close()
    world.engine.dispose()


async def upload(engine: AsyncEngine, tag: str) -> FileObject:
    """Store before a transaction begins, as requests do."""
    return await store_async(engine, LEDGER, storages[BACKEND], content_of(tag), NewFile(filename=f"{tag}.txt"))


async def work(engine: AsyncEngine, client: int) -> int:
    """Do everything that a request may do, and return how many rows are left."""
    chance, rows = random.Random(client), set[int]()
    for turn in range(TURNS):
        number = client * 100 + turn
        file, other = await upload(engine, "up"), await upload(engine, "other")
        async with AsyncSession(engine) as session:
            # Content that is stored in an open transaction takes a second connection: one client does it.
            session.add(Document(id=number, file=file, pages=[a_file("page")] if client == 1 else []))
            await session.commit()
            rows.add(number)
            row = await session.get_one(Document, chance.choice(sorted(rows)))
            match turn % 4:
                case 0:
                    row.file = other
                    await session.commit()
                case 1:
                    await session.execute(sa.delete(Document).where(Document.id == row.id))
                    await session.commit()
                    rows.discard(row.id)
                case 2:
                    row.file = other
                    await session.flush()
                    await session.rollback()
                case _:
                    pass  # the other one is left to the sweeps
        await sweep_async(engine, LEDGER, storages, SweepConfig(batch_size=5))
    return len(rows)


async def test_everything_at_once(world: World, engine: AsyncEngine) -> None:
    """Uploads, rows, replacements, deletes, rollbacks and sweeps of many clients meet no error."""
    left = await asyncio.gather(*(work(engine, client) for client in range(1, CLIENTS + 1)))
    assert len(world.contents()) == sum(left)


@pytest.mark.parametrize("engine", ["asyncpg"], indirect=True)
async def test_connections_are_shared(world: World, engine: AsyncEngine) -> None:
    """PgBouncer has fewer connections than clients have, so that transactions really change them."""
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    async with AsyncSession(engine) as first, AsyncSession(engine) as second:
        found = set[int]()
        for _ in range(20):
            for session in (first, second):
                found.add(await session.scalar(sa.text("SELECT pg_backend_pid()")))
                await session.commit()
    assert 1 <= len(found) <= 2 * pgbouncer.SERVER_CONNECTIONS
    assert world.damage() == []
