"""Uploads that take longer than a lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.core.new_file import NewFile
from litestar_filestore.orm import uploads
from litestar_filestore.orm.ledger import LEASE_SECONDS
from litestar_filestore.orm.ledger_table import State
from litestar_filestore.orm.staging import staging_engine
from litestar_filestore.orm.sweep import SweepResult
from tests.ledger.models import content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

PATIENCE = 30.0
OFTEN = 0.03


@pytest.fixture
async def engine(world: World, url: str) -> AsyncIterator[AsyncEngine]:
    """The database of `world` behind an async driver."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


async def test_lease_is_renewed_during_an_upload(
    world: World, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that takes longer than its lease is not given up, as the lease is renewed meanwhile."""
    monkeypatch.setattr(uploads, "LEASE_SECONDS", OFTEN)  # how often; each renewal is still for the whole lease
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    renewed = asyncio.Event()

    def committed(_connection: object) -> None:
        renewed.set()

    async def slowly() -> AsyncIterator[bytes]:
        yield content_of("new")[:1]
        event.listen(beside, "commit", committed)
        for _ in range(3):
            await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
            renewed.clear()
            # Two: the first may have been on its way.
            for _ in range(2):
                await asyncio.wait_for(renewed.wait(), PATIENCE)
                renewed.clear()
            assert await asyncio.to_thread(world.sweep) == SweepResult()
        yield content_of("new")[1:]

    await uploads.store_async(engine, LEDGER, world.backend, slowly(), NewFile(filename="new.txt"))
    assert list(world.snapshot().states.values()) == [State.STAGED]
    assert [info.size for info in world.backend.list()] == [len(content_of("new"))]
