"""Looks after the ledgers of an application while it runs: finds them, has them swept, and asks for quotas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar_filestore.ledger.quota import enforce_quota
from litestar_filestore.plugin.databases import LedgerFinder
from litestar_filestore.plugin.sweeper import STOP_SECONDS, Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.plugin.databases import Database, LedgerConfig, Place

__all__ = ("LedgerKeeper",)


class LedgerKeeper:
    """What runs for the ledgers of one application."""

    def __init__(self, config: LedgerConfig, registry: StorageRegistry, databases: Sequence[Database]) -> None:
        """Prepare; nothing is contacted yet."""
        self._config = config
        self._registry = registry
        self._finder = LedgerFinder(databases, named=bool(config.engines), found=self._use)
        self._quotas: dict[sa.Table, Callable[[], None]] = {}
        self._sweepers: list[Sweeper] = []
        self._swept: set[tuple[Database, sa.Table]] = set()

    async def start(self, found: Callable[[Sequence[Place], Callable[[], None] | None], None]) -> None:
        """Look for the ledgers, and do what is to be done for those that are there, now and later.

        Args:
            found: Called with the ledgers that are known, first of all, and with what has others looked for, if any may
                be missing because a database is away.

        Raises:
            ConfigurationError: If a ledger is missing, or `found` refuses them.
        """
        self._tell = found
        await self._finder.start()

    def _use(self, places: Sequence[Place], *, is_away: bool) -> None:
        self._tell(places, self._finder.wake if is_away else None)
        if self._config.quota is not None:
            for table in (table for place in places for table in place.tables):
                if table not in self._quotas:
                    self._quotas[table] = enforce_quota(table, self._config.quota)
        new = [place for place in places if (place.database, place.table) not in self._swept]
        if self._config.run_sweeper and new:
            self._swept.update((place.database, place.table) for place in new)
            sweeper = Sweeper(new, self._registry, self._config)
            self._sweepers.append(sweeper)
            sweeper.start()

    async def stop(self) -> None:
        """Stop everything, and wait for what is being worked on, for some seconds at the most."""
        for end in self._quotas.values():
            end()
        looking = self._finder.stop()
        await asyncio.gather(*(sweeper.stop() for sweeper in self._sweepers))
        if looking:
            await asyncio.wait(looking, timeout=STOP_SECONDS)
