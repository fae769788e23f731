"""Sweeps the ledgers in the background of an application."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from litestar_filestore.core.file_events import SweepEnded
from litestar_filestore.core.watching import tell, watchers
from litestar_filestore.ledger.outages import is_locked
from litestar_filestore.ledger.places import run_on
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepResult, count_ledger, on_doomed, sweep_backend, sweep_notes, total_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from litestar_filestore.core.file_events import LedgerCounted
    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.ledger.ledger_config import LedgerConfig
    from litestar_filestore.ledger.places import Place

__all__ = ("STOP_SECONDS", "Sweeper", "pause_seconds", "sweep_places")

logger = logging.getLogger("litestar_filestore")

STOP_SECONDS = 5.0
"""How long the end of an application waits for a sweep."""
_LONGEST_WAIT_SECONDS = 3600.0
_GATHER_SECONDS = 1.0
_LOCKED_SECONDS = 5.0
"""Pause before a locked SQLite file is tried again."""
_ROUND_SECONDS = 5.0
"""How long a ledger waits for its stores before it checks again what is due for the others."""
_COUNT_SECONDS = 300.0
"""Pause between two counts of a ledger for those who watch."""
_OBJECTS_AT_A_TIME = 1_000
"""Most deletes that stopping waits for: a sync engine sweeps in a thread, which cannot be cancelled."""


async def sweep_places(
    places: Sequence[Place],
    registry: StorageRegistry,
    config: LedgerConfig,
    on_batch: Callable[[SweepResult], object] | None = None,
) -> SweepResult:
    """Sweep everything that is due in every ledger, once. No ledger or store waits for another.

    Args:
        places: The ledgers.
        registry: The backends.
        config: How to sweep.
        on_batch: Called on the event loop with what each batch has done.

    Raises:
        ExceptionGroup: With the errors of ledgers that could not be swept; the others are swept.
    """
    outcomes = await asyncio.gather(
        *(_sweep_place(place, registry, config, on_batch) for place in places), return_exceptions=True
    )
    failures: list[Exception] = []
    for place, outcome in zip(places, outcomes, strict=True):
        if isinstance(outcome, Exception):
            outcome.add_note(f"This was the ledger in {place.database.url!r}.")
            failures.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(places)} ledgers could not be swept", failures)
    return total_of(outcome for outcome in outcomes if isinstance(outcome, SweepResult))


async def _sweep_place(
    place: Place, registry: StorageRegistry, config: LedgerConfig, on_batch: Callable[[SweepResult], object] | None
) -> SweepResult:
    await _sweep_notes(place, config)
    work = partial(_sweep_backend, place, registry, config=config, on_batch=on_batch)
    return total_of(await asyncio.gather(*map(work, registry.registered_backends())))


async def _sweep_notes(place: Place, config: LedgerConfig) -> None:
    await run_on(place.database, lambda engine: sweep_notes(_beside(engine), place.table, config.sweep))


async def _sweep_backend(
    place: Place,
    registry: StorageRegistry,
    backend: str,
    config: LedgerConfig,
    on_batch: Callable[[SweepResult], object] | None = None,
) -> SweepResult:
    limit = _OBJECTS_AT_A_TIME if on_batch is None else config.sweep.batch_size

    def run(engine: sa.Engine) -> SweepResult:
        return sweep_backend(_beside(engine), place.table, registry, backend, config.sweep, limit=limit)

    begin = time.monotonic()
    results: list[SweepResult] = []
    # A batch of which nothing could be deleted is the last one, as in `sweep_backend`.
    while not results or (sum(results[-1]) >= limit and results[-1].failed < limit):
        results.append(await run_on(place.database, run))
        if on_batch is not None:
            on_batch(results[-1])
    total = total_of(results)
    seconds = time.monotonic() - begin
    tell(SweepEnded(str(place.database.url), backend, total.deleted, total.failed, seconds))
    return total


async def _tell_counts(place: Place, registry: StorageRegistry, config: LedgerConfig) -> None:
    def count(engine: sa.Engine) -> LedgerCounted:
        return count_ledger(_beside(engine), place.table, registry.registered_backends(), config.sweep)

    tell(await run_on(place.database, count))


def _beside(engine: sa.Engine) -> sa.Engine:
    """Return an engine with a separate pool: a sweep must not hold connections that requests wait for."""
    return staging_engine(engine) or engine


def pause_seconds(interval: float, failures: int, chance: float) -> float:
    """Return how long a ledger waits for its next sweep.

    Args:
        interval: Seconds between two sweeps.
        failures: How many sweeps in a row have failed; each doubles the interval, up to an hour.
        chance: From 0 to 1, for a quarter less to a quarter more, so that workers that were started together do not
            sweep together.
    """
    doublings = min(failures, 20)  # enough for an hour, and small enough for a float
    return min(interval * 2.0**doublings, max(interval, _LONGEST_WAIT_SECONDS)) * (0.75 + chance / 2)


@dataclass
class _Turn:
    """The next sweep of one ledger."""

    place: Place
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a commit has left something to sweep."""
    failures: int = 0
    """Number of sweeps in a row that have failed."""
    counted_at: float | None = None
    """When it was counted last, by the event loop's clock."""
    busy: dict[str, asyncio.Task[SweepResult]] = field(default_factory=dict[str, "asyncio.Task[SweepResult]"])
    """The backends that are being swept. A backend that does not answer is not waited for."""


class Sweeper:
    """Sweeps at intervals, and soon after a commit of this process that gave objects up.

    Each ledger has a task, and so has each of its backends while it is swept, so none waits for another.
    """

    def __init__(self, places: Sequence[Place], registry: StorageRegistry, config: LedgerConfig) -> None:
        """Prepare; nothing runs yet."""
        self._turns = [_Turn(place) for place in places]
        self._registry = registry
        self._config = config
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sweeping on the running event loop."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The loop was closed without `stop`; the committing session cannot do anything about it.
                self._forget()

        self._forget = on_doomed(wake)
        self._task = asyncio.create_task(self._run(), name="litestar-filestore sweeper")

    def _wake(self) -> None:
        for turn in self._turns:
            turn.wake.set()

    async def stop(self) -> None:
        """Stop after the current batch, or before its end if it takes long.

        Another sweep does the rest: unfinished claims run out.
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
        async with asyncio.TaskGroup() as group:
            for turn in self._turns:
                group.create_task(self._run_turn(turn))

    async def _run_turn(self, turn: _Turn) -> None:
        try:
            pause = self._pause(turn)
            while True:
                await self._wait(turn, pause)
                pause = await self._sweep(turn)
        finally:
            for task in turn.busy.values():
                task.cancel()
            if turn.busy:
                await asyncio.wait(turn.busy.values())

    async def _sweep(self, turn: _Turn) -> float:
        """Sweep a ledger, and return how long to wait for the next sweep."""
        try:
            await self._sweep_all(turn)
        except Exception as error:
            if is_locked(error):
                # Others are writing to this file, which may be over in a moment. With ever longer pauses, a busy file
                # would keep its objects for hours.
                logger.info("The ledger in %r is locked, it is swept soon", turn.place.database.url)
                return min(self._pause(turn), _LOCKED_SECONDS)
            # Whatever the error is, the sweeper must run as long as the application: there is no caller to raise to.
            # The ledger remembers what is due, so nothing is lost by waiting.
            turn.failures += 1
            logger.exception(
                "A sweep of the ledger in %r failed, for the %d. time in a row; it is tried again",
                turn.place.database.url,
                turn.failures,
            )
        else:
            turn.failures = 0
        return self._pause(turn)

    async def _sweep_all(self, turn: _Turn) -> None:
        await _sweep_notes(turn.place, self._config)
        await self._count(turn)
        for backend in self._registry.registered_backends():
            if backend not in turn.busy:
                sweeping = _sweep_backend(turn.place, self._registry, backend, self._config)
                turn.busy[backend] = asyncio.create_task(sweeping)
        if turn.busy:
            await asyncio.wait(turn.busy.values(), timeout=_ROUND_SECONDS)
        ended = [backend for backend, task in turn.busy.items() if task.done()]
        errors = [error for backend in ended if (error := turn.busy.pop(backend).exception()) is not None]
        if errors:
            raise errors[0]  # the other errors come from the same database

    async def _count(self, turn: _Turn) -> None:
        now = asyncio.get_running_loop().time()
        if watchers and (turn.counted_at is None or now >= turn.counted_at + _COUNT_SECONDS):
            turn.counted_at = now
            await _tell_counts(turn.place, self._registry, self._config)

    def _pause(self, turn: _Turn) -> float:
        return pause_seconds(self._config.sweep_interval_seconds, turn.failures, random.random())  # noqa: S311

    async def _wait(self, turn: _Turn, seconds: float) -> None:
        """Wait for a time or for a commit."""
        try:
            async with asyncio.timeout(seconds):
                await turn.wake.wait()
                while turn.failures:
                    # A commit does not wake a ledger that fails: otherwise every commit would try it.
                    turn.wake.clear()
                    await turn.wake.wait()
        except TimeoutError:
            return
        # More commits may follow; one sweep serves them all.
        await asyncio.sleep(min(_GATHER_SECONDS, self._config.sweep_interval_seconds))
        turn.wake.clear()
