"""A `World` whose sessions are those inside an `AsyncSession`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests.ledger.places import prepare
from tests.ledger.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

__all__ = ("HALVES", "AsyncWorld", "Half")

T = TypeVar("T")

Half = Literal["sync", "async"]
HALVES: tuple[Half, ...] = ("sync", "async")
"""For ``pytest.mark.parametrize("half", HALVES)``."""


class AsyncWorld(World):
    """Works with an async driver, and is looked at with a sync one."""

    def __init__(self, engine: Engine, root: Path, url: str) -> None:
        """Look through `engine`, and work through an async engine for `url`, in an event loop of its own."""
        super().__init__(engine, root)
        self.async_engine = create_async_engine(url)
        prepare(self.bind)
        self._runner = asyncio.Runner()

    @property
    def bind(self) -> Engine:
        """The sync engine inside the async one."""
        return self.async_engine.sync_engine

    def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` in the greenlet of an `AsyncSession`."""

        async def main() -> T:
            async with AsyncSession(self.async_engine) as session:
                return await session.run_sync(work)

        return self.run_async(main())

    def run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop to which the connections of the async engine belong."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Close the connections and the event loop too."""
        super().close()
        self.run_async(self.async_engine.dispose())
        self._runner.close()
