"""A real driver that tells how far a put has come, and can be held up in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from litestar_filestore import LocalBackend, ObjectInfo, StorageBackend
from litestar_filestore.core.types import Block, PutOptions
from litestar_filestore.testing import FaultyDriver

__all__ = ("WatchedDriver", "watched")


class WatchedDriver(FaultyDriver):
    """Wraps a driver; its puts can be watched and held up."""

    def __init__(self, backend: StorageBackend) -> None:
        super().__init__(backend.storage_driver)
        self.blocks: list[int] = []
        """Lengths of the blocks that puts have taken."""
        self.gate = asyncio.Event()
        """A put takes its next block when this is set."""
        self.gate.set()
        self._moved = asyncio.Event()

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put through the real driver, block by block."""
        return await super().put_async(path, self._watch(blocks), options)

    async def _watch(self, blocks: AsyncIterator[Block]) -> AsyncIterator[Block]:
        async for block in blocks:
            self.blocks.append(len(block))
            self._moved.set()
            yield block
            await self.gate.wait()

    async def wait_for(self, size: int) -> None:
        """Return when puts have taken as many bytes."""
        while sum(self.blocks) < size:
            self._moved.clear()
            await self._moved.wait()


def watched(key: str, folder: str) -> tuple[StorageBackend, WatchedDriver]:
    """Return a backend on a local folder, and its driver."""
    driver = WatchedDriver(LocalBackend(key, folder))
    return StorageBackend(key, driver=driver), driver
