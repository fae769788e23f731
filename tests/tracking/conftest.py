"""The fixtures of `tests.orm`, and applications with rows, ledger and store on each kind of database.

`db` compares the store with the rows after each test, `world` looks at rows, ledger and store from outside.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from litestar_filestore import FilestoreConfig, FilestorePlugin
from litestar_filestore.core.registry import storages
from litestar_filestore.ledger.ledger_config import LedgerConfig
from tests.ledger.places import async_url, prepare
from tests.ledger.world import World
from tests.orm.conftest import backend, base, db, driver, postgres_database, url_of

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

__all__ = ("Serve", "backend", "base", "db", "driver", "postgres_database", "url_of")

Serve = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"http_{uuid.uuid4().hex}"
    server.create_database(name)
    return server.url("psycopg", name)


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[World]:
    """Empty tables and an empty store, seen from outside. In the end no row lacks its object."""
    engine = prepare(sa.create_engine(url))
    world = World(engine, tmp_path / "store")
    world.create()
    storages.unregister_backend(world.backend.key)  # the application registers it
    try:
        yield world
        world.register()
        assert world.damage() == []
    finally:
        world.close()
        engine.dispose()


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The database behind an async driver, for the application."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def serve(world: World, engine: AsyncEngine) -> AsyncIterator[Serve]:
    """Start applications on the event loop of the test, and return clients of them."""
    async with AsyncExitStack() as stack:

        async def serve(*handlers: Any, config: Mapping[str, Any] | None = None, **options: Any) -> httpx.AsyncClient:
            settings = {"ledger": LedgerConfig([engine], run_sweeper=False), **(config or {})}
            plugin = FilestorePlugin(FilestoreConfig([world.backend], **settings))
            app = Litestar([*handlers], plugins=[plugin], logging_config=None, **options)
            await stack.enter_async_context(_running(app))
            transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://app"))

        yield serve


@asynccontextmanager
async def _running(app: Litestar) -> AsyncIterator[None]:
    """Run the lifespan in a task of its own, as servers do: it has to end where it began, and fixtures do not."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await ended.wait()

    task = asyncio.create_task(live())
    await asyncio.wait({task, waiting := asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield
    finally:
        ended.set()
        await task
