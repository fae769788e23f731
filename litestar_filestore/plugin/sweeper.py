"""The sweeper that runs beside an application."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from litestar_filestore.orm.staging import staging_engine
from litestar_filestore.orm.sweep import SweepResult, sweep
from litestar_filestore.orm.wake import on_doomed
from litestar_filestore.plugin.ledger import run_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.plugin.ledger import LedgerConfig, Place

__all__ = ("Sweeper", "pause_seconds", "sweep_places")

logger = logging.getLogger("litestar_filestore")

_LONGEST_WAIT_SECONDS = 3600.0
_MAX_DOUBLINGS = 20
_GATHER_SECONDS = 1.0
_OBJECTS_AT_A_TIME = 1_000
"""A sync engine sweeps in a thread, which cannot be cancelled: stopping waits for so many deletes at the most."""


async def sweep_places(places: Sequence[Place], registry: StorageRegistry, config: LedgerConfig) -> SweepResult:
    """Sweep every ledger once, all that is due.

    Raises:
        ExceptionGroup: If several could not be swept; the error itself of one. The others have been swept.
    """
    total = SweepResult()
    errors: list[Exception] = []
    for place in places:
        try:
            total = total.plus(await _sweep_place(place, registry, config))
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)
    if len(errors) > 1:
        raise ExceptionGroup("Some ledgers could not be swept", errors)
    if errors:
        raise errors[0]
    return total


async def _sweep_place(place: Place, registry: StorageRegistry, config: LedgerConfig) -> SweepResult:
    def run(engine: sa.Engine) -> SweepResult:
        # A pool of its own: a sweep must not hold connections that requests wait for.
        beside = staging_engine(engine) or engine
        return sweep(beside, place.table, registry, config.sweep, limit=_OBJECTS_AT_A_TIME)

    total = SweepResult()
    while True:
        result: SweepResult = await run_on(place.database, run)
        total = total.plus(result)
        if sum(result) < _OBJECTS_AT_A_TIME:
            return total


def pause_seconds(interval_seconds: float, failures: int) -> float:
    """Return how long to wait for the next sweep, after so many that failed in a row."""
    # Jitter: the workers of one host were started together and need not sweep together.
    wait = interval_seconds * random.uniform(0.75, 1.25)  # noqa: S311
    return min(wait * 2 ** min(failures, _MAX_DOUBLINGS), _LONGEST_WAIT_SECONDS) if failures else wait


class Sweeper:
    """Sweeps at intervals, and soon after a commit of this process that gave objects up."""

    def __init__(self, places: Sequence[Place], registry: StorageRegistry, config: LedgerConfig) -> None:
        """Prepare; nothing runs yet."""
        self._places = places
        self._registry = registry
        self._config = config
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        """Begin to sweep on the running event loop."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:
                if not loop.is_closed():
                    raise
                self._forget()  # the loop has ended without the application, and the sweeper with it

        self._forget = on_doomed(wake)
        self._task = asyncio.create_task(self._run(), name="litestar-filestore sweeper")

    async def stop(self) -> None:
        """Stop after the batch that is being worked on; what is left is another sweep's."""
        if self._task is None:
            return
        self._forget()
        task, self._task = self._task, None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        while True:
            await self._pause()
            try:
                await sweep_places(self._places, self._registry, self._config)
            except Exception:
                # There is no caller to raise to. The ledger keeps what is to be done, so nothing is lost by waiting.
                self._failures += 1
                logger.exception("A sweep failed, for the %d. time in a row; it is tried again", self._failures)
            else:
                self._failures = 0

    async def _pause(self) -> None:
        wait = pause_seconds(self._config.sweep_interval_seconds, self._failures)
        if self._failures:
            await asyncio.sleep(wait)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)
            await asyncio.sleep(min(_GATHER_SECONDS, wait))  # more commits may follow, one sweep serves them all
        self._wake.clear()
