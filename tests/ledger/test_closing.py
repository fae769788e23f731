"""Pools of connections are closed although the server says nothing any more."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.ledger.conversations import close_in_time
from litestar_filestore.ledger.staging import staging_engine
from tests.servers.chaos import ChaosProxy
from tests.servers.postgres import PostgresServer
from tests.servers.processes import HOST


async def test_a_pool_of_a_silent_database_is_closed(postgres_server: PostgresServer) -> None:
    """Disposing of an engine returns, with its connections and those of the pool beside it."""
    async with ChaosProxy(HOST, postgres_server.port) as proxy:
        engine = create_async_engine(f"postgresql+asyncpg://postgres@{HOST}:{proxy.port}/postgres")
        close_in_time(engine.sync_engine)
        beside = staging_engine(engine.sync_engine)
        assert beside is not None
        opened = [await engine.connect() for _ in range(4)]
        for each in opened:
            await each.execute(sa.text("SELECT 1"))
            await each.close()
        async with engine.connect() as connection:
            await connection.run_sync(lambda _: beside.connect().close())
        proxy.hold()
        async with asyncio.timeout(20):  # without a limit it waits for ever
            await engine.dispose()
        proxy.drop()
