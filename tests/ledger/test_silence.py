"""Databases that fall silent: neither an answer nor an error comes, as behind a firewall that has forgotten them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from litestar_filestore import FileObject, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import DatabaseUnavailableError
from litestar_filestore.ledger import reserves
from litestar_filestore.ledger.intents import store_async
from litestar_filestore.ledger.table import State
from tests.ledger.models import BACKEND, content_of
from tests.ledger.places import async_url
from tests.ledger.world import LEDGER, World
from tests.reservations import WINDOW
from tests.servers.chaos import Cut, ThreadedProxy, running_proxy
from tests.servers.processes import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)

PATIENCE = 60.0
"""Seconds that only a hang exceeds."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose patience soon."""
    monkeypatch.setattr("litestar_filestore.ledger.conversations._SILENCE_SECONDS", 3.0)
    monkeypatch.setattr("litestar_filestore.ledger.intents._WAIT_SECONDS", 6.0)
    monkeypatch.setattr("litestar_filestore.ledger.intents._LATE_SECONDS", 0.2)


@pytest.fixture
def faults(url: str) -> Iterator[ThreadedProxy]:
    """What stands between the uploads and the database."""
    port = sa.make_url(url).port
    assert port is not None
    with running_proxy(HOST, port) as proxy:
        yield proxy


@pytest.fixture(params=["sync", "async"])
async def engine(
    request: pytest.FixtureRequest, url: str, faults: ThreadedProxy
) -> AsyncIterator[sa.Engine | AsyncEngine]:
    """The database behind the proxy, through a driver of each kind."""
    through = sa.make_url(url).set(port=faults.port)
    if request.param == "sync":
        sync = sa.create_engine(through)
        yield sync
        sync.dispose()
        return
    asynchronous = create_async_engine(async_url(through.render_as_string(hide_password=False)))
    yield asynchronous
    await asynchronous.dispose()


async def upload(engine: sa.Engine | AsyncEngine, name: str) -> FileObject:
    """Store one file."""
    backend = storages.get_backend(BACKEND)
    return await store_async(engine, LEDGER, backend, content_of(name), NewFile(filename=f"{name}.txt"))


async def test_one_silent_connection(world: World, engine: sa.Engine | AsyncEngine, faults: ThreadedProxy) -> None:
    """Uploads pass one whose connection does not answer, and that one goes on with another connection."""
    async with asyncio.timeout(PATIENCE):
        await upload(engine, "first")
        faults.cut(Cut(0, "to_server", how="stall"), times=1)
        silent = asyncio.create_task(upload(engine, "silent"))
        await asyncio.sleep(0)
        files = await asyncio.gather(*(upload(engine, f"other{number}") for number in range(10)))
        assert not silent.done()
        files.append(await silent)
    assert set(world.snapshot().states.values()) == {State.STAGED}
    assert len(world.snapshot().states) == len(files) + 1


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_silent_database(
    world: World, engine: sa.Engine | AsyncEngine, faults: ThreadedProxy, direction: str
) -> None:
    """Uploads to a database that is silent end with an error, leave nothing, and those that come later work."""
    async with asyncio.timeout(PATIENCE):
        await upload(engine, "first")
        if direction == "to_server":
            faults.hold()
        else:
            faults.cut(Cut(0, "to_client", how="stall"))
        results = await asyncio.gather(*(upload(engine, f"{number}") for number in range(5)), return_exceptions=True)
        assert {type(result) for result in results} == {DatabaseUnavailableError}
        assert len(world.objects()) == 1
        faults.cut(None)
        faults.release()
        last = await upload(engine, "last")
    keys = {key.key for key in world.snapshot().states}
    assert len(keys) == 2
    assert last.path in keys


async def test_end_with_reserved_entries(
    world: World, engine: sa.Engine | AsyncEngine, faults: ThreadedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine is disposed of although the database does not hear that reserved entries are given back."""
    monkeypatch.setattr(reserves, WINDOW, PATIENCE)
    files = [await upload(engine, f"{number}") for number in range(2)]
    assert len(world.snapshot().states) == len(files) + 3
    faults.hold()
    async with asyncio.timeout(PATIENCE):
        if isinstance(engine, AsyncEngine):
            await engine.dispose()
        else:
            await asyncio.to_thread(engine.dispose)
    faults.release()
    assert set(world.snapshot().states.values()) == {State.STAGED}  # and run out
