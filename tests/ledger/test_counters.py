"""Counters of owners with many objects: right whatever happens to an object, and written by sweeps only."""

from __future__ import annotations

import random
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore.ledger.ledger import Ledger, ObjectKey, Usage
from litestar_filestore.ledger.quota import ask_quota, enforce_quota, owner_of_new_objects
from litestar_filestore.ledger.staging import staging_engine, transact
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State, usage_of
from tests.ledger.models import Document, a_file, content_of
from tests.ledger.world import LEDGER, LONG, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANY = 101
"""The least number of entries because of which an owner gets a counter."""
KEEP = SweepConfig(keep_deleted_for_seconds=10 * LONG)
_counters = usage_of(LEDGER.metadata)
assert _counters is not None
COUNTERS = _counters


@pytest.fixture(autouse=True)
def asked() -> Iterator[list[Usage]]:
    """New objects belong to alice, and there is a quota without a limit, which notes what it is asked."""
    asked: list[Usage] = []
    token, end = owner_of_new_objects.set("alice"), enforce_quota(LEDGER, lambda _, usage: asked.append(usage))
    yield asked
    end()
    owner_of_new_objects.reset(token)


def add(world: World, numbers: Sequence[int]) -> None:
    """Add rows with a file each."""
    with Session(world.engine) as session:
        session.add_all([Document(id=number, file=a_file("one")) for number in numbers])
        session.commit()


def fill(world: World, count: int, state: State = State.LINKED, owner: str = "alice") -> None:
    """Enter objects of one byte that nobody else looks at."""
    rows = [
        {"backend": "elsewhere", "key": f"{owner}-{state}-{number}", "state": state, "size": 1, "owner": owner}
        for number in range(count)
    ]
    with world.engine.begin() as connection:
        connection.execute(sa.insert(LEDGER).values(created_at=0, not_before=0, attempts=0), rows)


def want(world: World, *owners: str) -> None:
    """Ask for counters, as uploads do in their short transactions."""
    beside = staging_engine(world.engine) or world.engine
    for owner in owners:
        transact(beside, partial(Ledger(LEDGER).want_counter, owner=owner))


def the_sum(world: World, owner: str = "alice") -> Usage:
    """Return the usage of an owner as a sum over all entries."""
    size = sa.func.coalesce(LEDGER.c.size, 0)
    doomed = LEDGER.c.state == State.DOOMED
    parts = (sa.literal(1), size, sa.case((doomed, 1), else_=0), sa.case((doomed, size), else_=0))
    statement = sa.select(*(sa.func.coalesce(sa.func.sum(part), 0) for part in parts))
    with world.engine.connect() as connection:
        row = connection.execute(statement.where(LEDGER.c.owner == owner, LEDGER.c.state != State.GONE)).one()
    return Usage(*map(int, row))


def entries_read(world: World, owner: str = "alice") -> int:
    """Return how many entries a question for the usage reads; the answer is the sum over all entries."""
    with world.engine.connect() as connection:
        measure = Ledger(LEDGER).measure(connection, owner)
    assert measure.usage == the_sum(world, owner)
    return measure.entries


def counted(world: World) -> dict[str, Usage]:
    """Return all counters."""
    with world.engine.connect() as connection:
        return {row.owner: Usage(*row[1:5]) for row in connection.execute(sa.select(COUNTERS))}


def forget_filling(world: World) -> None:
    """Remove what `fill` has entered, with its counters."""
    with world.engine.begin() as connection:
        connection.execute(sa.delete(LEDGER).where(LEDGER.c.backend == "elsewhere"))
        connection.execute(sa.delete(COUNTERS))


def test_owner_with_many_objects_gets_a_counter(world: World, asked: list[Usage]) -> None:
    """An upload that reads many entries asks for a counter, the next sweep counts, and later uploads read few."""
    fill(world, MANY)
    add(world, [1])
    assert counted(world) == {"alice": Usage(0, 0)}
    assert world.sweep(KEEP).deleted == 0
    size = len(content_of("one"))
    assert counted(world) == {"alice": Usage(MANY + 1, MANY + size)}
    assert entries_read(world) == 0
    add(world, [2])
    assert asked[-1] == Usage(MANY + 2, MANY + 2 * size)
    assert entries_read(world) == 1
    forget_filling(world)


def test_owner_with_few_objects_gets_none(world: World) -> None:
    """For all others there is a sum over their entries, and nothing is written for it."""
    fill(world, MANY - 3)
    add(world, [1])
    world.sweep(KEEP)
    assert counted(world) == {}
    assert entries_read(world) == MANY - 2
    forget_filling(world)


def test_counted_objects_are_doomed_and_deleted(world: World) -> None:
    """A counted object stays counted while it is doomed, counts as doomed too, and no longer when it is gone."""
    size = len(content_of("one"))
    add(world, [1, 2, 3])
    want(world, "alice")
    world.sweep(KEEP)
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
        session.execute(sa.delete(Document).where(Document.id == 2))
        session.commit()
    assert counted(world) == {"alice": Usage(3, 3 * size)}
    assert entries_read(world) == 2
    want(world, "alice")
    world.sweep(KEEP)
    assert counted(world) == {"alice": Usage(3, 3 * size, 2, 2 * size)}
    assert entries_read(world) == 0
    assert world.sweep().deleted == 2
    assert counted(world) == {"alice": Usage(1, size)}
    world.recover()
    assert entries_read(world) == 0


def test_tombstones_cost_nothing(world: World) -> None:
    """What is deleted is nobody's, so that an owner who stores and deletes without end is asked about quickly."""
    add(world, range(1, 21))
    with Session(world.engine) as session:
        session.execute(sa.delete(Document))
        session.commit()
    world.sweep()
    assert set(world.snapshot().states.values()) == {State.GONE}
    assert entries_read(world) == 0


def test_staged_objects_are_not_counted(world: World) -> None:
    """What may still grow, or be forgotten, is summed up until a row has it."""
    fill(world, 3, State.STAGED)
    fill(world, 2, State.SHARED)
    fill(world, 2, State.KEPT)
    want(world, "alice")
    world.sweep(KEEP)
    assert counted(world) == {"alice": Usage(4, 4)}
    assert entries_read(world) == 3
    forget_filling(world)


def test_transaction_of_the_application_writes_no_counter(world: World) -> None:
    """It may be open for long, and would keep sweeps and other transactions from the counter."""
    fill(world, MANY)
    with world.engine.begin() as connection:
        ask_quota(Ledger(LEDGER), connection, "alice", is_beside=False)
    assert counted(world) == {}
    forget_filling(world)


def test_everything_at_random(world: World) -> None:
    """After any order of steps, a counter with the entries that it lacks is the sum over all entries."""
    chance = random.Random(11)
    rows: set[int] = set()

    def bulk(session: Session) -> None:
        session.execute(sa.delete(Document).where(Document.id % 3 == 0))
        rows.difference_update({number for number in rows if number % 3 == 0})

    def by_hand(session: Session) -> None:
        # As a trigger does it, for SQL that no session sees.
        session.execute(sa.text("DELETE FROM document"))
        session.execute(sa.update(LEDGER).where(LEDGER.c.state == State.LINKED).values(state=State.DOOMED))
        rows.clear()

    def replace(session: Session) -> None:
        if rows:
            session.get_one(Document, chance.choice(sorted(rows))).file = a_file("two")

    for number in range(1, 41):
        match chance.randrange(8):
            case 0 | 1 | 2:
                add(world, [number])
                rows.add(number)
            case 3:
                want(world, "alice")
                world.sweep(KEEP)
            case 4:
                world.sweep()
            case 5 | 6:
                with Session(world.engine) as session:
                    chance.choice([bulk, replace])(session)
                    session.commit()
            case _:
                with Session(world.engine) as session:
                    chance.choice([by_hand, replace])(session)
                    session.commit()
        assert entries_read(world) >= 0
        assert world.drifts() == {}
    world.recover()


@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_sweeps_and_uploads_at_once(world: World) -> None:
    """Sweepers that count and delete the same owners' objects at once leave the right counters."""
    owners = ("alice", "bob", "carol")
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                owner_of_new_objects.set(owners[(number + turn) % 3])
                add(world, [number * 100 + turn * 3 + each for each in range(3)])
                with Session(world.engine) as session:
                    session.execute(sa.delete(Document).where(Document.id == number * 100 + turn * 3))
                    session.commit()
                want(world, *owners)
                world.sweep()
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    want(world, *owners)
    world.sweep()
    assert world.drifts() == {}
    assert [entries_read(world, owner) for owner in owners] == [0, 0, 0]
    assert sum(each.objects for each in counted(world).values()) == 3 * 4 * 2


def test_wrong_counters_are_found_and_mended(world: World) -> None:
    """SQL from outside can make counters wrong: fsck says by how much, and sets them right if it may."""
    size = len(content_of("one"))
    add(world, [1, 2])
    fill(world, 3, owner="bob")
    want(world, "alice", "bob")
    world.sweep(KEEP)
    with world.engine.begin() as connection:
        connection.execute(sa.delete(LEDGER).where(LEDGER.c.key == f"bob-{State.LINKED}-1"))
        connection.execute(sa.update(COUNTERS).where(COUNTERS.c.owner == "alice").values(bytes=5))
    report = world.fsck(repair=False)
    assert sorted((each.object, each.detail) for each in report.findings) == [
        (ObjectKey(COUNTERS.name, "alice"), f"off by bytes {5 - 2 * size:+}"),
        (ObjectKey(COUNTERS.name, "bob"), "off by objects +1, bytes +1"),
    ]
    assert world.fsck(repair=True).recounted == 2
    assert counted(world) == {"alice": Usage(2, 2 * size), "bob": Usage(2, 2)}
    assert world.fsck(repair=False).is_clean
    forget_filling(world)
