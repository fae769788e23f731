"""Empties the trash."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from example_app.models import Document, Share

logger = logging.getLogger("example_app")

INTERVAL_SECONDS = 60.0


class Trash(InitPlugin):
    """Deletes documents that have lain in the trash for long enough. Their files go with them: no code says so.

    A plugin, because plugins stop in the reverse of their order: after that of the database, it stops before it.
    """

    def __init__(self, database: SQLAlchemyAsyncConfig, keep_seconds: float) -> None:
        """Empty the trash of a database."""
        self.database = database
        self.keep = timedelta(seconds=keep_seconds)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Run while the application does."""
        app_config.lifespan.append(self._emptied)
        return app_config

    @asynccontextmanager
    async def _emptied(self, _: Litestar) -> AsyncGenerator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(stop))
        try:
            yield
        finally:
            stop.set()
            await task  # not cancelled: it ends between two statements, and gives its connection back

    async def _run(self, stop: asyncio.Event) -> None:
        """Empty it again and again. Any number of workers may: a document can be deleted only once."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), min(INTERVAL_SECONDS, self.keep.total_seconds()))
            except TimeoutError:
                try:
                    await self._empty()
                except DBAPIError:
                    logger.exception("The trash could not be emptied; it is tried again")

    async def _empty(self) -> None:
        now = datetime.now(UTC)
        async with self.database.get_session() as session:
            await session.execute(delete(Share).where(Share.expires_at < now))
            await session.execute(delete(Document).where(Document.deleted_at < now - self.keep))
            await session.commit()
