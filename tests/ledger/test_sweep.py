"""Sweepers delete what is due, nothing else, and never give up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend, StorageRegistry, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Ledger, ObjectKey
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.sweep import SweepConfig, SweepResult, sweep
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Document
from tests.ledger.world import LEDGER, LONG, World

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 24 * 3600.0


def delete_rows(world: World, *numbers: int) -> None:
    """Delete rows of the seed; their files are doomed from then on."""
    with Session(world.engine) as session:
        for number in numbers:
            session.delete(session.get_one(Document, number))
        session.commit()


def entries(world: World) -> Sequence[sa.Row[int, str | None, float]]:
    """Return attempts, last error and wait of all entries that are not linked."""
    with world.engine.connect() as connection:
        return connection.execute(
            sa.select(LEDGER.c.attempts, LEDGER.c.last_error, LEDGER.c.not_before).where(
                LEDGER.c.state != State.LINKED, LEDGER.c.backend != ""
            )
        ).all()


def fail(world: World, *faults: Fault) -> FaultyDriver:
    """Let the store fail as planned."""
    driver = FaultyDriver(world.backend.storage_driver, faults)
    storages.register_backend(StorageBackend(BACKEND, driver=driver))
    return driver


def test_doomed_objects_are_deleted(seeded: World) -> None:
    """What rows gave up is deleted at once, and what rows hold stays."""
    delete_rows(seeded, 1, 2)
    assert seeded.sweep() == SweepResult(deleted=4)
    assert len(seeded.objects()) == 1
    assert seeded.sweep() == SweepResult()


def test_object_that_is_missing_already(seeded: World) -> None:
    """A doomed object that somebody else deleted counts as deleted."""
    delete_rows(seeded, 2)
    for key in seeded.objects() - seeded.snapshot().linked:
        seeded.backend.delete(key.key)
    assert seeded.sweep() == SweepResult(deleted=1)


def test_late_writer(seeded: World) -> None:
    """An object that comes back after its delete is deleted again when the tombstone ends."""
    delete_rows(seeded, 2)
    (lost,) = seeded.objects() - seeded.snapshot().linked
    seeded.sweep()
    seeded.backend.put(b"late", key=lost.key)
    seeded.pass_time(DAY - 60)
    assert seeded.sweep() == SweepResult()
    seeded.pass_time(61)
    assert seeded.sweep() == SweepResult(forgotten=1)
    assert seeded.leftovers() == []


def test_retention(seeded: World) -> None:
    """Objects outlive their rows for as long as the configuration says."""
    config = SweepConfig(keep_deleted_for_seconds=7 * DAY)
    delete_rows(seeded, 2)
    seeded.pass_time(7 * DAY - 60)
    assert seeded.sweep(config) == SweepResult()
    seeded.pass_time(61)
    assert seeded.sweep(config) == SweepResult(deleted=1)


def test_lease_and_grace(world: World) -> None:
    """A staged object is kept until its lease and the grace after it have run out."""
    config = SweepConfig(staged_grace_seconds=600)
    with world.engine.begin() as connection:
        Ledger(LEDGER).stage(connection, [ObjectKey(BACKEND, "a"), ObjectKey(BACKEND, "b")])
    world.pass_time(LEASE_SECONDS + 540)
    assert world.sweep(config) == SweepResult()
    world.pass_time(61)
    assert world.sweep(config) == SweepResult(deleted=2)


def test_limit(seeded: World) -> None:
    """A sweep handles no more than it was told."""
    delete_rows(seeded, 1, 2, 3)
    config = SweepConfig(batch_size=2)
    assert sweep(seeded.engine, LEDGER, storages, config, limit=3) == SweepResult(deleted=3)
    assert sweep(seeded.engine, LEDGER, storages, config, limit=3) == SweepResult(deleted=2)


def test_room_is_freed_before_tombstones_are_forgotten(seeded: World) -> None:
    """A sweep that cannot do everything that is due deletes what was abandoned first."""
    delete_rows(seeded, 2)
    seeded.sweep()
    with seeded.engine.begin() as connection:
        Ledger(LEDGER).stage(connection, [ObjectKey(BACKEND, "abandoned")])
    seeded.pass_time()
    assert seeded.sweep(limit=1) == SweepResult(deleted=1)
    assert seeded.sweep(limit=1) == SweepResult(forgotten=1)


def test_failing_delete_is_noted_and_tried_again(seeded: World) -> None:
    """The entry keeps the number of attempts and the last error; each failure doubles the wait."""
    fail(seeded, Fault("delete", BackendUnavailableError("out of order"), times=2))
    config = SweepConfig(backoff_seconds=100)
    delete_rows(seeded, 2)
    for attempt, wait in ((1, 100), (2, 200)):
        assert seeded.sweep(config) == SweepResult(failed=1)
        ((attempts, error, _),) = entries(seeded)
        assert attempts == attempt
        assert error is not None
        assert "out of order" in error
        seeded.pass_time(wait / 2)
        assert seeded.sweep(config) == SweepResult()
        seeded.pass_time(wait / 2)
    assert seeded.sweep(config) == SweepResult(deleted=1)


def test_failures_do_not_shorten_the_retention(seeded: World) -> None:
    """With a retention, the wait after a failure is the back-off and not the retention over again."""
    fail(seeded, Fault("delete", BackendUnavailableError("down")))
    config = SweepConfig(keep_deleted_for_seconds=DAY, backoff_seconds=100)
    delete_rows(seeded, 2)
    seeded.pass_time(DAY + 1)
    assert seeded.sweep(config) == SweepResult(failed=1)
    seeded.pass_time(90)
    assert seeded.sweep(config) == SweepResult()
    seeded.pass_time(11)
    assert seeded.sweep(config) == SweepResult(deleted=1)


def test_one_bad_object_does_not_keep_the_others(seeded: World) -> None:
    """When a batch fails, its objects are tried one by one."""
    down = BackendUnavailableError("down")
    driver = fail(seeded, Fault("delete", down, call=1), Fault("delete", down, call=3))
    delete_rows(seeded, 1, 2)
    assert seeded.sweep() == SweepResult(deleted=3, failed=1)
    assert [len(call.paths) for call in driver.calls if call.operation == "delete"] == [4, 1, 1, 1, 1]


def test_lost_answer(seeded: World) -> None:
    """A delete whose answer gets lost is repeated, and the missing object is no error."""
    fail(seeded, Fault("delete", BackendUnavailableError("reset"), after_effect=True))
    delete_rows(seeded, 2)
    assert seeded.sweep() == SweepResult(failed=1)
    seeded.pass_time()
    assert seeded.sweep() == SweepResult(deleted=1)


def test_unknown_backend(seeded: World) -> None:
    """Objects of a backend that this process does not know are left to others, who need not wait for a claim's end."""
    delete_rows(seeded, 2)
    assert sweep(seeded.engine, LEDGER, StorageRegistry()) == SweepResult()
    assert len(seeded.objects()) == 5
    assert seeded.sweep() == SweepResult(deleted=1)


def test_claim_runs_out(seeded: World) -> None:
    """What a sweeper claimed that died is anybody's after the claim's time, and not before."""
    config = SweepConfig(claim_seconds=300)
    delete_rows(seeded, 2)

    def die(point: str) -> None:
        if point == "sweep.claimed":
            raise KeyboardInterrupt

    on_point(die)
    with pytest.raises(KeyboardInterrupt):
        seeded.sweep(config)
    on_point(None)
    seeded.pass_time(290)
    assert seeded.sweep(config) == SweepResult()
    seeded.pass_time(11)
    assert seeded.sweep(config) == SweepResult(deleted=1)


@pytest.mark.parametrize("state", ["doomed", "gone"])
def test_claim_that_ran_out_before_the_delete(seeded: World, state: str) -> None:
    """A sweeper that has slept too long deletes nothing: the key may be in use again."""

    def pin() -> None:
        with Session(seeded.engine) as session:
            session.get_one(Document, 2).file = FileObject(BACKEND, "pin.txt", "pin.txt", content=b"pin")
            session.commit()

    pin()
    seeded.recover()
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).file = None
        session.commit()
    if state == "gone":
        assert seeded.sweep() == SweepResult(deleted=1)
        seeded.pass_time()

    def sleep(point: str) -> None:
        if point == "sweep.claimed":
            on_point(None)
            seeded.recover()  # others delete the object and forget it
            pin()

    on_point(sleep)
    assert seeded.sweep() == SweepResult()
    with Session(seeded.engine) as session:
        file = session.get_one(Document, 2).file
    assert file is not None
    assert file.get_content() == b"pin"


def test_second_sweeper_finds_nothing_to_claim(seeded: World) -> None:
    """Two sweepers never have the same object in hand."""
    delete_rows(seeded, 1, 2)
    results: list[SweepResult] = []

    def sweep_too(point: str) -> None:
        if point == "sweep.claimed":
            on_point(None)
            results.append(seeded.sweep())

    on_point(sweep_too)
    results.append(seeded.sweep(SweepConfig(batch_size=3)))
    # The second one took what was not claimed yet.
    assert results == [SweepResult(deleted=1), SweepResult(deleted=3)]


def test_two_sweepers_at_once(seeded: World) -> None:
    """Two threads that sweep together delete each object once."""
    delete_rows(seeded, 1, 2, 3)
    driver = fail(seeded)
    start = threading.Barrier(2)
    results: list[SweepResult] = []

    def run() -> None:
        start.wait()
        results.append(seeded.sweep(SweepConfig(batch_size=1)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.deleted for result in results) == 5
    paths = [path for call in driver.calls if call.operation == "delete" for path in call.paths]
    assert len(paths) == len(set(paths)) == 5


CLOCKS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "cockroachdb": "SELECT extract(epoch FROM clock_timestamp())",
    "mariadb": "SELECT unix_timestamp(now(6))",
}


def test_times_are_the_database_s(seeded: World) -> None:
    """Entries are due by the database's clock: what it says is now lies between two of its answers."""
    with seeded.engine.begin() as connection:
        now = sa.text(CLOCKS[connection.dialect.name])
        before = float(connection.execute(now).scalar_one())
        Ledger(LEDGER).stage(connection, [ObjectKey(BACKEND, "a")], lease_seconds=LONG)
        after = float(connection.execute(now).scalar_one())
        entry = connection.execute(sa.select(LEDGER).where(LEDGER.c.key == "a")).one()
    rounding = 0.002  # julianday() counts milliseconds
    assert before - rounding <= entry.created_at <= after + rounding
    assert before - rounding <= entry.not_before - LONG <= after + rounding
