"""A backend on the disk, a file in it, and an application around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend
from litestar_filestore.plugin.databases import Database
from tests.ledger.world import World
from tests.plugin.sweeping import TellingDriver

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
