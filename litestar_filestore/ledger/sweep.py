"""Deletes objects that no row needs: those whose lease has run out, and those that their rows gave up.

Any number of sweepers may run, in any process, with any clock: they claim entries of the ledger in short transactions,
and the claim of a dead process runs out by itself. Deleting an object twice is harmless.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.file_events import LedgerCounted
from litestar_filestore.core.threads import run_in_thread, within
from litestar_filestore.errors import StorageError
from litestar_filestore.ledger.conversations import limited
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.notes import doom_noted
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.staging import patiently, transact, without_gap_locks
from litestar_filestore.ledger.table import WITHOUT_SKIP_LOCKED, State, database_now, is_pending
from litestar_filestore.ledger.uploads import sweep_uploads
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from litestar_filestore.core.registry import StorageRegistry

__all__ = (
    "SweepConfig",
    "SweepResult",
    "count_due",
    "count_ledger",
    "on_doomed",
    "sweep",
    "sweep_async",
    "sweep_backend",
    "sweep_notes",
    "tell_doomed",
    "total_of",
)

logger = logging.getLogger("litestar_filestore")

T = TypeVar("T")

_MAX_ERROR = 500
_STEP_SECONDS = 60.0
"""How long a transaction of a sweep may take on a server; a ledger with millions of entries needs some seconds."""
_COUNTS = 25
"""How often a sweep adds entries to counters, some thousand at a time: 100,000 in all."""
_SWEPT = (State.DOOMED, State.STAGED, State.GONE)
"""In this order: where there is always more than a sweep can do, it frees what takes room before it forgets."""


@dataclass
class SweepConfig:
    """How long objects and entries are kept, and how much work sweepers claim."""

    keep_deleted_for_seconds: float = 0.0
    """How long an object outlives its row. A database that is restored to a point within this time finds the bytes of
    that point; 604,800 (7 days) fits most backup plans."""
    staged_grace_seconds: float = 0.0
    """How long a staged object is kept beyond its lease."""
    tombstone_seconds: float = 24 * 3600.0
    """After this time a deleted object is deleted again, in case a stalled writer has finished, and forgotten."""
    claim_seconds: float = 300.0
    """After this time other sweepers may claim an object again; longer than a batch of deletes takes."""
    batch_size: int = 100
    """Objects claimed at a time."""
    delete_seconds: float = 30.0
    """How long a store may take to delete a batch; then the batch counts as failed."""
    backoff_seconds: float = 30.0
    """Pause after the first failed delete of an object; doubled after each further one, up to a day."""

    def retention(self, state: State) -> float:
        """Return how long an object outlives its ``not_before``."""
        if state is State.STAGED:
            return self.staged_grace_seconds
        return self.keep_deleted_for_seconds if state is State.DOOMED else 0.0


class SweepResult(NamedTuple):
    """The outcome of one sweep."""

    deleted: int = 0
    """Objects deleted, or found to be missing already."""
    forgotten: int = 0
    """Objects deleted a second time and removed from the ledger."""
    failed: int = 0
    """Objects whose delete failed; they are tried again later, and the ledger keeps the error."""


def total_of(results: Iterable[SweepResult]) -> SweepResult:
    """Return the sum of results."""
    return SweepResult(*map(sum, zip(*results, strict=True)))


class _Claim(NamedTuple):
    """A claim on one object of the backend that is swept."""

    key: str
    state: State
    """Its state when it was claimed."""
    attempts: int

    @property
    def held_state(self) -> State:
        """Its state since the claim."""
        return State.GONE if self.state is State.GONE else State.DOOMED


def sweep(
    engine: Engine, table: Table, registry: StorageRegistry, config: SweepConfig | None = None, *, limit: int = 10_000
) -> SweepResult:
    """Delete what is due.

    Args:
        engine: Database of the ledger.
        table: The ledger's table; see `ledger_of`.
        registry: The registry with the backends of the objects. Objects of other backends are left alone.
        config: Times and sizes; ``None`` for the defaults.
        limit: Most objects to handle for each backend.
    """
    sweep_notes(engine, table, config, limit=limit)
    return total_of(
        sweep_backend(engine, table, registry, backend, config, limit=limit)
        for backend in sorted(registry.registered_backends())
    )


def sweep_notes(engine: Engine, table: Table, config: SweepConfig | None = None, *, limit: int = 10_000) -> None:
    """Doom objects that transactions left without an entry, forget expired links, and count what large owners have.

    This is the first step of `sweep`. It deletes nothing.
    """
    config = config or SweepConfig()
    beside, ledger = without_gap_locks(engine), Ledger(table)
    with _in_time(engine):
        transact(beside, ledger.forget_links)
        doom_noted(beside, ledger, grace_seconds=config.staged_grace_seconds, limit=limit)
    for _ in range(_COUNTS):
        with _in_time(engine):
            if not transact(beside, ledger.count_entries):
                break
        reach("sweep.counted")


def sweep_backend(
    engine: Engine,
    table: Table,
    registry: StorageRegistry,
    backend: str,
    config: SweepConfig | None = None,
    *,
    limit: int = 10_000,
) -> SweepResult:
    """Delete what is due of one backend; the other steps of `sweep`.

    If nothing at all can be deleted from a store, it is left alone for this sweep.
    """
    # First, so that the objects of expired uploads are deleted by this sweep.
    sweep_uploads(engine, table, registry, backend, limit=limit)
    sweeper = _Sweeper(engine, table, registry, backend, config or SweepConfig())
    results: list[SweepResult] = []
    handled = 0
    while handled < limit and (claims := sweeper.claim(min(sweeper.config.batch_size, limit - handled))):
        handled += len(claims)
        results.append(sweeper.finish(claims))
        if results[-1].failed == len(claims):
            break
    return total_of(results)


async def sweep_async(
    engine: AsyncEngine,
    table: Table,
    registry: StorageRegistry,
    config: SweepConfig | None = None,
    *,
    limit: int = 10_000,
) -> SweepResult:
    """`sweep` without blocking the event loop."""
    return await greenlet_spawn(partial(sweep, engine.sync_engine, table, registry, config, limit=limit))


def count_ledger(
    engine: Engine, table: Table, backends: Iterable[str], config: SweepConfig | None = None
) -> LedgerCounted:
    """Count what is not linked, by one statement that the index for sweeps answers.

    Linked objects are not counted: there may be millions, and no index holds them alone.
    """
    config, c = config or SweepConfig(), table.c
    found = sa.select(c.backend, c.state, sa.func.count(), database_now() - sa.func.min(c.not_before))
    states = dict.fromkeys(((each, str(state)) for each in backends for state in State if state is not State.LINKED), 0)
    lags = dict.fromkeys((backend for backend, _ in states), 0.0)
    with _in_time(engine), engine.connect() as connection:
        rows = connection.execute(found.where(is_pending(table)).group_by(c.backend, c.state)).all()
    for backend, state, number, late in rows:
        states[backend, str(State(state))] = number
        if State(state) in _SWEPT:
            lags[backend] = max(lags.get(backend, 0.0), float(late) - config.retention(State(state)))
    return LedgerCounted(str(engine.url), states, lags)


def count_due(engine: Engine, table: Table, backends: Iterable[str], config: SweepConfig | None = None) -> int:
    """Return how many objects a sweep would deal with now; the index for sweeps answers."""
    config, c = config or SweepConfig(), table.c
    late = (sa.and_(c.state == state, c.not_before <= database_now() - config.retention(state)) for state in _SWEPT)
    found = sa.select(sa.func.count()).select_from(table)
    found = found.where(is_pending(table), c.backend.in_([*backends]), sa.or_(*late))
    with _in_time(engine), engine.connect() as connection:
        return connection.execute(found).scalar_one()


@contextmanager
def _in_time(engine: Engine) -> Generator[None]:
    """Return a context in which a server that does not answer causes an error; SQLite has no server."""
    with nullcontext() if engine.dialect.name == "sqlite" else limited(_STEP_SECONDS):
        yield


class _Sweeper:
    def __init__(
        self, engine: Engine, table: Table, registry: StorageRegistry, backend: str, config: SweepConfig
    ) -> None:
        self._backend = backend
        self._engine = without_gap_locks(engine)
        self._table = table
        self._ledger = Ledger(table)
        self._c = table.c
        self._registry = registry
        self.config = config
        self._reached: dict[State, float] = {}

    def claim(self, count: int) -> list[_Claim]:
        """Take up to `count` due objects, so that no other sweeper does, and give up staged ones."""
        # On SQLite a claim takes the lock for which all others wait, so it looks first.
        nothing = self._engine.dialect.name == "sqlite" and not self._is_any_due()
        claims = [] if nothing else self._write(partial(self._claim_all, count))
        if claims:
            reach("sweep.claimed")
        return claims

    def _is_any_due(self) -> bool:
        with self._engine.connect() as connection:
            first = sa.select(self._c.key).order_by(self._c.not_before).limit(1)
            return any(connection.execute(first.where(self._due(state))).first() for state in _SWEPT)

    def _claim_all(self, count: int, connection: Connection) -> list[_Claim]:
        claims: list[_Claim] = []
        # One after the other, because each is a range of the index in order: a combined condition would scan everything
        # that is due for each batch.
        for state in _SWEPT:
            if room := count - len(claims):
                claims += self._claim(connection, state, room)
        return claims

    def _claim(self, connection: Connection, state: State, count: int) -> list[_Claim]:
        held = State.GONE if state is State.GONE else State.DOOMED
        # Set so that the entry is due again when the claim runs out, whatever the retention is.
        values = {"state": held, "not_before": self._after(self.config.claim_seconds, state)}
        due = sa.select(self._c.key, self._c.attempts, self._c.not_before).where(self._due(state))
        due = due.order_by(self._c.not_before).limit(count)
        if connection.dialect.name in WITHOUT_SKIP_LOCKED:
            return self._claim_by_update(connection, state, due, values)
        rows = connection.execute(due.with_for_update(skip_locked=True)).all()
        claims = [_Claim(row.key, state, row.attempts) for row in rows]
        if rows:
            self._reached[state] = rows[-1].not_before
            connection.execute(sa.update(self._table).where(self._are(claims, state)).values(values))
        return claims

    def _claim_by_update(
        self, connection: Connection, state: State, due: sa.Select[Any, Any, Any], values: Mapping[str, object]
    ) -> list[_Claim]:
        """Claim by one statement, which asks again for each entry: if another sweeper was faster, it is not due."""
        found = due.subquery()
        chosen = sa.and_(self._c.backend == self._backend, self._c.key.in_(sa.select(found.c.key)))
        taken = sa.update(self._table).where(chosen, self._due(state)).values(values)
        rows = connection.execute(taken.returning(self._c.key, self._c.attempts))
        return [_Claim(row.key, state, row.attempts) for row in rows]

    def _due(self, state: State) -> ColumnElement[bool]:
        due = sa.and_(
            self._c.state == state,
            is_pending(self._table),
            self._c.not_before <= database_now() - self.config.retention(state),
            self._c.backend == self._backend,
        )
        # PostgreSQL keeps earlier claims in its index until a vacuum, and would scan past them for each batch.
        reached = self._reached.get(state)
        return due if reached is None else sa.and_(due, self._c.not_before >= reached)

    def _after(self, seconds: float, state: State) -> ColumnElement[float]:
        """Return the ``not_before`` of an entry that was in `state` and is due again after a time."""
        return database_now() + (seconds - (0.0 if state is State.GONE else self.config.keep_deleted_for_seconds))

    def _are(self, claims: Iterable[_Claim], state: State) -> ColumnElement[bool]:
        """Return the condition that entries belong to the claims and are in a state."""
        keys = sorted(claim.key for claim in claims)
        return sa.and_(self._c.backend == self._backend, self._c.key.in_(keys), self._c.state == state)

    def finish(self, claims: Sequence[_Claim]) -> SweepResult:
        """Delete the objects of claims, and record the outcome."""
        failures: dict[_Claim, str] = {}
        done = self._delete(claims, failures)
        reach("sweep.deleted")
        self._write(partial(self._note, done, failures))
        reach("sweep.forgot")
        gone = sum(claim.state is State.GONE for claim in done)
        return SweepResult(deleted=len(done) - gone, forgotten=gone, failed=len(failures))

    def _note(self, done: Sequence[_Claim], failures: Mapping[_Claim, str], connection: Connection) -> None:
        forgotten = [claim for claim in done if claim.state is State.GONE]
        deleted = [claim for claim in done if claim.state is not State.GONE]
        if forgotten:
            connection.execute(sa.delete(self._table).where(self._are(forgotten, State.GONE)))
        if deleted:
            until = database_now() + self.config.tombstone_seconds
            # What is gone is nobody's; an owner who is counted is needed for one more statement.
            owner = sa.case((self._c.counted > 0, self._c.owner), else_=None)
            values = {"state": State.GONE, "not_before": until, "last_error": None, "owner": owner}
            connection.execute(sa.update(self._table).where(self._are(deleted, State.DOOMED)).values(values))
            self._ledger.uncount(connection, [ObjectKey(self._backend, claim.key) for claim in deleted])
        for claim, error in failures.items():
            wait = min(self.config.backoff_seconds * 2 ** min(claim.attempts, 20), 24 * 3600.0)
            values = {
                "attempts": self._c.attempts + 1,
                "last_error": error,
                "not_before": self._after(wait, claim.state),
            }
            connection.execute(sa.update(self._table).where(self._are([claim], claim.held_state)).values(values))

    def _delete(self, claims: Sequence[_Claim], failures: dict[_Claim, str]) -> list[_Claim]:
        """Return the claims whose objects were deleted, and add to `failures` why others were not."""
        held = self._held(claims)
        if not held or (error := self._try(held)) is None:
            return held
        # One bad object must not block the others: find out which one it is, unless the first and the last one fail
        # too. Then the store is at fault, and each object would mean another wait.
        ends = held[:1] + held[1:][-1:]
        errors = [self._try([claim]) for claim in ends] if len(held) > 1 else [error]
        done = [claim for claim, its in zip(ends, errors, strict=False) if its is None]
        failures.update({claim: its for claim, its in zip(ends, errors, strict=False) if its is not None})
        between = held[1:-1]
        if done:
            middle = len(between) // 2
            for half in (between[:middle], between[middle:]):
                done += self._delete(half, failures)
        else:
            failures.update(dict.fromkeys(between, error))
        return done

    def _held(self, claims: Sequence[_Claim]) -> list[_Claim]:
        """Return the claims that have not run out.

        The object of an expired claim may be deleted and forgotten by now, and a key of the application's own choice
        may be in use again.
        """
        held: set[str] = set()
        with _in_time(self._engine), self._engine.connect() as connection:
            for state in (State.DOOMED, State.GONE):
                if its := [claim for claim in claims if claim.held_state is state]:
                    is_held = self._c.not_before > database_now() - self.config.retention(state)
                    held.update(
                        connection.execute(sa.select(self._c.key).where(self._are(its, state), is_held)).scalars()
                    )
        return [claim for claim in claims if claim.key in held]

    def _try(self, claims: Sequence[_Claim]) -> str | None:
        keys = [claim.key for claim in claims]
        seconds = self.config.delete_seconds
        try:
            found = self._registry.get_backend(self._backend)
            call(
                partial(run_in_thread, partial(found.delete, keys), seconds=seconds),
                lambda: within(seconds, found.delete_async(keys)),
            )
        except (StorageError, TimeoutError) as error:
            logger.warning("Could not delete %d objects of %r, will try again: %s", len(keys), self._backend, error)
            return str(error)[:_MAX_ERROR]
        except Exception as error:
            # A bug in a driver. Recorded in the entry and tried again like the others, so that it blocks no other
            # object.
            logger.exception("Could not delete %d objects of %r, will try again", len(keys), self._backend)
            return repr(error)[:_MAX_ERROR]
        return None

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction."""

        def write() -> T:
            with _in_time(self._engine), self._engine.begin() as connection:
                self._take_write_lock(connection)
                return work(connection)

        return patiently(write)

    def _take_write_lock(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            # A read that becomes a write fails if another connection has written in between; an update of nothing locks
            # at once.
            connection.execute(sa.update(self._table).where(sa.false()).values(attempts=self._c.attempts))


# -- commits that leave something to sweep

_listeners: list[Callable[[], None]] = []


def on_doomed(listener: Callable[[], None]) -> Callable[[], None]:
    """Call `listener` after each commit that doomed an object; it must return at once, and may be called in any thread.

    Returns:
        A function that stops it; you may call it more than once.
    """
    _listeners.append(listener)

    def end() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return end


def tell_doomed() -> None:
    """Call all listeners."""
    for listener in tuple(_listeners):
        listener()
