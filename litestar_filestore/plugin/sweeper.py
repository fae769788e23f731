"""The sweeper that runs beside an application."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
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

__all__ = ("STOP_SECONDS", "Sweeper", "pause_seconds", "sweep_places")

logger = logging.getLogger("litestar_filestore")

STOP_SECONDS = 5.0
"""So long the end of an application waits for a sweep."""
_LONGEST_WAIT_SECONDS = 3600.0
_GATHER_SECONDS = 1.0
_OBJECTS_AT_A_TIME = 1_000
"""A sync engine sweeps in a thread, which cannot be cancelled: stopping waits for so many deletes at the most."""


async def sweep_places(places: Sequence[Place], registry: StorageRegistry, config: LedgerConfig) -> SweepResult:
    """Sweep every ledger once, all that is due.

    Raises:
        ExceptionGroup: With what kept ledgers from being swept; the others are.
    """
    total = SweepResult()
    failures: list[Exception] = []
    for place in places:
        try:
            total = total.plus(await _sweep_place(place, registry, config))
        except Exception as error:  # noqa: BLE001  # raised below
            error.add_note(f"This was the ledger in {place.database.url!r}.")
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(places)} ledgers could not be swept", failures)
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


def pause_seconds(interval: float, failures: int, chance: float) -> float:
    """Return how long a ledger waits for its next sweep.

    Args:
        interval: Seconds between two sweeps.
        failures: How many sweeps in a row have failed; each doubles the interval, up to an hour.
        chance: From 0 to 1, for a quarter less to a quarter more: the workers of one host were started together and
            need not sweep together.
    """
    doublings = min(failures, 20)  # more than an hour needs, and less than a float holds
    return min(interval * 2.0**doublings, max(interval, _LONGEST_WAIT_SECONDS)) * (0.75 + chance / 2)


@dataclass
class _Turn:
    """When a ledger is swept next."""

    place: Place
    due: float
    """By the event loop's clock."""
    failures: int = 0
    """Sweeps that have failed in a row."""


class Sweeper:
    """Sweeps at intervals, and soon after a commit of this process that gave objects up."""

    def __init__(self, places: Sequence[Place], registry: StorageRegistry, config: LedgerConfig) -> None:
        """Prepare; nothing runs yet."""
        self._places = places
        self._registry = registry
        self._config = config
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep on the running event loop."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:
                # The loop was closed without `stop`; whoever has committed cannot do anything about it.
                self._forget()

        self._forget = on_doomed(wake)
        self._task = asyncio.create_task(self._run(), name="litestar-filestore sweeper")

    async def stop(self) -> None:
        """Stop after the batch that is being worked on, or without it if that takes long.

        What is left is another sweep's: claims that nobody finishes run out.
        """
        if self._task is None:
            return
        self._forget()
        task, self._task = self._task, None
        task.cancel()
        # A sync engine sweeps in a thread, which cannot be cancelled, and a store or a database may be silent.
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not task.done():
            logger.warning("A sweep has not ended within %g s; what it has left is the next one's", STOP_SECONDS)

    async def _run(self) -> None:
        turns = [_Turn(place, self._next(failures=0)) for place in self._places]
        while True:
            woken = await self._wait_until(min(turn.due for turn in turns))
            now = _now()
            for turn in turns:
                # A commit does not wake a ledger that fails: it would be tried at every commit.
                if turn.due <= now or (woken and not turn.failures):
                    await self._sweep(turn)

    async def _sweep(self, turn: _Turn) -> None:
        try:
            await _sweep_place(turn.place, self._registry, self._config)
        except Exception:
            # Whatever it is, the sweeper must not end before the application does: there is no caller to raise to.
            # The ledger keeps what is to be done, so nothing is lost by waiting.
            turn.failures += 1
            logger.exception(
                "A sweep of the ledger in %r failed, for the %d. time in a row; it is tried again",
                turn.place.database.url,
                turn.failures,
            )
        else:
            turn.failures = 0
        turn.due = self._next(turn.failures)

    def _next(self, failures: int) -> float:
        return _now() + pause_seconds(self._config.sweep_interval_seconds, failures, random.random())  # noqa: S311

    async def _wait_until(self, due: float) -> bool:
        """Wait for a time or a commit, and return whether it was a commit."""
        try:
            await asyncio.wait_for(self._wake.wait(), due - _now())
        except TimeoutError:
            return False
        # More commits may follow; one sweep serves them all.
        await asyncio.sleep(min(_GATHER_SECONDS, self._config.sweep_interval_seconds))
        self._wake.clear()
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
