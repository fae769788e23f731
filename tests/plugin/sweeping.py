"""An application whose sweeper runs, and a store that tells what it deletes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from sqlalchemy.orm import Session

from litestar_filestore import FilestoreConfig, FilestorePlugin, StorageBackend
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.testing import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.ledger.ledger_config import Database
    from tests.ledger.world import World

__all__ = ("NEVER", "OFTEN", "PATIENCE", "TellingDriver", "clear", "running", "sweepers")

OFTEN = 0.05
"""Seconds between two sweeps that a test waits for."""
NEVER = 100_000.0
"""Seconds between two sweeps of which there is one at the most."""
PATIENCE = 30.0
"""Seconds after which a test fails."""
_TASK = "litestar-filestore sweeper"


class TellingDriver(FaultyDriver):
    """Tells when as many objects are deleted as the test waits for."""

    def __init__(self, inner: Driver, faults: Sequence[Fault] = ()) -> None:
        super().__init__(inner, faults)
        self.deleted: list[str] = []
        self._waiting: list[tuple[int, Callable[[], object]]] = []

    def delete(self, paths: Sequence[str]) -> None:
        super().delete(paths)
        self._tell(paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        await super().delete_async(paths)
        self._tell(paths)

    def _tell(self, paths: Sequence[str]) -> None:
        self.deleted += paths
        for count, tell in self._waiting:
            if len(self.deleted) >= count:
                tell()

    async def wait_for(self, count: int) -> None:
        """Return when `count` objects have been deleted since the beginning."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._waiting.append((count, lambda: loop.call_soon_threadsafe(done.set)))
        if len(self.deleted) < count:
            await asyncio.wait_for(done.wait(), PATIENCE)


@asynccontextmanager
async def running(driver: Driver, *databases: Database, **options: Any) -> AsyncIterator[Litestar]:
    """Run an application with a ledger."""
    ledger = LedgerConfig(databases=databases, **options)
    config = FilestoreConfig([StorageBackend(BACKEND, driver=driver)], ledger=ledger)
    app = Litestar([], plugins=[FilestorePlugin(config)])
    async with app.lifespan():  # a test client would run it in another thread
        yield app


def clear(world: World, *numbers: int) -> None:
    """Take the files out of rows, in the application's process.

    In a thread where a sweep may be under way: it may hold SQLite's write lock, and gives it back on the event loop.
    """
    with Session(world.engine) as session:
        for number in numbers:
            session.get_one(Document, number).file = None
        session.commit()


def sweepers() -> list[asyncio.Task[Any]]:
    """Return the sweepers that run."""
    return [task for task in asyncio.all_tasks() if task.get_name() == _TASK]
