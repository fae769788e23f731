"""Where each statement commits itself, no row lacks its bytes either; what cannot be had that way is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from litestar_filestore import FileObjectList
from litestar_filestore.errors import ConflictError, LedgerError, LinkLostError, QuotaExceededError
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.quota import enforce_quota, owner_of_new_objects
from litestar_filestore.ledger.sweep import SweepConfig
from tests.ledger.models import Document, a_file
from tests.ledger.world import LEDGER, SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = SweepConfig(staged_grace_seconds=-2 * LEASE_SECONDS)
"""Takes every staged object for one whose process has died."""


class KilledError(BaseException):
    """Ends an operation so that nothing tidies up after it, as the end of its process does."""


@pytest.fixture
def session(seeded: World) -> Iterator[Session]:
    """A session with AUTOCOMMIT on the rows of the seed."""
    with Session(seeded.engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        yield session


def test_no_rollback(seeded: World, session: Session) -> None:
    """A row that no rollback takes back keeps its object."""
    session.add(Document(id=4, file=a_file("four")))
    session.flush()
    session.rollback()
    seeded.recover()
    assert seeded.contents() == {**SEED, 4: ("four", ())}


def test_everyday_changes(seeded: World, session: Session) -> None:
    """Rows are added, replaced and deleted, and lists exchanged as a whole."""
    session.add(Document(id=4, file=a_file("four"), pages=[a_file("left"), a_file("right")]))
    session.get_one(Document, 1).file = a_file("new")
    session.get_one(Document, 1).pages = FileObjectList([a_file("leaf")])
    session.delete(session.get_one(Document, 2))
    session.get_one(Document, 3).file = None
    session.commit()
    seeded.recover()
    assert seeded.contents() == {1: ("new", ("leaf",)), 3: (None, ()), 4: ("four", ("left", "right"))}


def test_object_that_was_given_up(seeded: World, session: Session) -> None:
    """A row is not written if its object was swept before."""

    def sweep_once(point: str) -> None:
        if point == "put.after":
            on_point(None)
            seeded.sweep(AT_ONCE)

    on_point(sweep_once)
    session.get_one(Document, 1).file = a_file("new")
    with pytest.raises(LinkLostError):
        session.commit()
    assert seeded.contents() == SEED


def test_kill_before_the_row(seeded: World, session: Session) -> None:
    """A kill between entry and row leaves an entry that ``fsck`` finds, and never a row without bytes."""

    def kill(point: str) -> None:
        if point == "link.after":
            on_point(None)
            raise KilledError

    on_point(kill)
    session.get_one(Document, 1).file = a_file("new")
    with pytest.raises(KilledError):
        session.commit()
    session.close()
    assert seeded.contents() == SEED
    (damage,) = seeded.damage()
    assert damage.startswith("linked entry without row")
    assert seeded.fsck(repair=True).doomed == 1


def test_refused_by_quota(seeded: World, session: Session) -> None:
    """What is more than its owner may store is given up, and its row not written."""

    def check(_owner: str, usage: Any) -> None:
        if usage.bytes > 0:
            raise QuotaExceededError("too much")

    end = enforce_quota(LEDGER, check)
    token = owner_of_new_objects.set("alice")
    try:
        session.add(Document(id=4, file=a_file("four")))
        with pytest.raises(QuotaExceededError):
            session.commit()
    finally:
        owner_of_new_objects.reset(token)
        end()
    assert seeded.contents() == SEED


def test_refused_link_gives_up_the_others(seeded: World, session: Session) -> None:
    """If one file of a flush belongs to another row, no row is written, and the new objects are given up."""
    taken = session.get_one(Document, 1).file
    session.add_all([Document(id=4, file=a_file("four")), Document(id=5, file=taken)])
    with pytest.raises(ConflictError):
        session.commit()
    assert seeded.contents() == SEED


@pytest.mark.parametrize("how", ["shortened", "moved"])
def test_what_needs_a_lock_is_refused(seeded: World, session: Session, how: str) -> None:
    """Files cannot move, nor stay in a list that changes: others could doom what a row is about to hold."""
    row, other = session.get_one(Document, 1), session.get_one(Document, 2)
    assert row.pages is not None
    if how == "shortened":
        del row.pages[0]
    else:
        other.file, row.file = row.file, None
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.commit()
    assert seeded.contents() == SEED


@pytest.mark.parametrize(
    "statement",
    [
        sa.delete(Document).where(Document.id == 1),
        sa.update(Document).where(Document.id == 1).values(file=None),
        sa.insert(Document).values(id=4, file=a_file("four")),
        sa.insert(Document).values([{"id": 4, "pages": [a_file("four")]}]),
    ],
    ids=["delete", "update", "insert", "insert of several"],
)
def test_bulk_statement_is_refused(seeded: World, session: Session, statement: Any) -> None:
    """A bulk statement that changes files is refused before it runs."""
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.execute(statement)
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.execute(sa.update(Document), [{"id": 1, "file": None}])
    assert seeded.contents() == SEED


def test_bulk_statement_without_files(seeded: World, session: Session) -> None:
    """One that has nothing to do with files is not."""
    session.execute(sa.update(Document).values(name="same"))
    session.execute(sa.insert(Document), [{"id": 4, "name": "same"}])
    with seeded.engine.connect() as connection:
        assert connection.scalars(sa.select(Document.name)).all() == ["same"] * 4


def test_row_that_cannot_be_written(seeded: World, session: Session) -> None:
    """An error of the row itself leaves an entry that ``fsck`` finds."""
    with Session(seeded.engine) as other:
        session.add(Document(id=4, file=a_file("four")))
        other.add(Document(id=4))
        other.commit()
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    assert seeded.fsck(repair=True).doomed == 1
    assert seeded.contents() == {**SEED, 4: (None, ())}
