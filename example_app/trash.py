"""Empties the trash."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig
from litestar import Litestar
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from example_app.models import Document, Share

logger = logging.getLogger("example_app")

INTERVAL_SECONDS = 60.0


class Trash:
    """Deletes documents that have lain in the trash for long enough. Their files go with them: no code says so."""

    def __init__(self, database: SQLAlchemyAsyncConfig, keep_seconds: float) -> None:
        """Empty the trash of a database."""
        self.database = database
        self.keep = timedelta(seconds=keep_seconds)

    @asynccontextmanager
    async def emptied(self, _: Litestar) -> AsyncGenerator[None]:
        """Do so while the application runs. Any number of workers may: a document can be deleted only once."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(INTERVAL_SECONDS, self.keep.total_seconds()))
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
