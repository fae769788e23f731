"""One session, two databases: each has a ledger that says what its own rows hold, however the transaction ends."""

from __future__ import annotations

import uuid
import warnings
from typing import TYPE_CHECKING, Literal

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SAWarning

from tests.ledger import two_models
from tests.ledger.models import Document, a_file
from tests.ledger.two_models import Invoice
from tests.ledger.two_sides import Kind, TwoSides

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from litestar_filestore import FileObject
    from tests.servers.postgres import PostgresServer

ONE_PHASE = [
    Kind("sqlite", "sqlite"),
    Kind("sqlite", "psycopg"),
    Kind("psycopg", "psycopg"),
    Kind("aiosqlite", "aiosqlite", is_async=True),
    Kind("aiosqlite", "asyncpg", is_async=True),
    Kind("asyncpg", "asyncpg", is_async=True),
]
TWO_PHASES = [
    Kind("psycopg", "psycopg", twophase=True),
    Kind("psycopg", "psycopg", is_async=True, twophase=True),
]
SEED = {1: "one", 2: "two"}


@pytest.fixture(scope="module")
def postgres_names(two_phase_server: PostgresServer) -> tuple[str, str]:
    """Names of two databases that the tests of this module have for themselves."""
    names = f"left_{uuid.uuid4().hex}", f"right_{uuid.uuid4().hex}"
    for name in names:
        two_phase_server.create_database(name)
    return names


@pytest.fixture(params=[*ONE_PHASE, *TWO_PHASES], ids=str)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwoSides]:
    """Two databases with the rows of `SEED`. In the end rows, ledgers and stores fit together."""

    def url_of(driver: str, index: int) -> str:
        if "sqlite" in driver:
            return f"sqlite{'+aiosqlite' if driver == 'aiosqlite' else ''}:///{tmp_path}/{index}.db"
        server: PostgresServer = request.getfixturevalue("two_phase_server")
        names: tuple[str, str] = request.getfixturevalue("postgres_names")
        return server.url("asyncpg" if driver == "asyncpg" else "psycopg", names[index])

    kind: Kind = request.param
    sides = TwoSides(kind, (url_of(kind.left, 0), url_of(kind.right, 1)), tmp_path)
    try:
        sides.run(seed)
        yield sides
        sides.recover()
        sides.tags()
    finally:
        sides.close()


def invoiced(tag: str) -> FileObject:
    """Make a file for an invoice."""
    return a_file(tag, two_models.BACKEND)


def seed(session: Session) -> None:
    """Add the rows of `SEED` to both, and commit."""
    for number, tag in SEED.items():
        session.add_all([Document(id=number, file=a_file(tag)), Invoice(id=number, file=invoiced(tag))])
    session.commit()


def change(session: Session) -> None:
    """Add, replace and delete in both, in one flush."""
    with session.no_autoflush:
        session.get_one(Document, 1).file = a_file("left")
        session.get_one(Invoice, 1).file = invoiced("right")
        session.delete(session.get_one(Document, 2))
        session.delete(session.get_one(Invoice, 2))
        session.add_all([Document(id=3, file=a_file("three")), Invoice(id=3, file=invoiced("third"))])
    session.flush()


CHANGED = {1: "left", 3: "three"}, {1: "right", 3: "third"}


def fail_at_commit(session: Session) -> None:
    """Write what the second database refuses when it is to commit."""
    session.execute(sa.text("INSERT INTO late VALUES (99)"), bind_arguments={"mapper": sa.inspect(Invoice)})


def test_added(sides: TwoSides) -> None:
    """Files that are committed together are linked each in the ledger of their own row."""
    assert sides.tags() == (SEED, SEED)
    sides.recover()
    assert sides.tags() == (SEED, SEED)


def test_commit(sides: TwoSides) -> None:
    """What is replaced and deleted is doomed each in the ledger of its own row."""

    def work(session: Session) -> None:
        change(session)
        session.commit()

    sides.run(work)
    assert sides.tags() == CHANGED
    sides.recover()
    assert sides.tags() == CHANGED


def test_rollback(sides: TwoSides) -> None:
    """Rolled back, both are as before."""

    def work(session: Session) -> None:
        change(session)
        session.rollback()

    sides.run(work)
    assert sides.tags() == (SEED, SEED)
    sides.recover()
    assert sides.tags() == (SEED, SEED)


def test_rollback_of_what_was_written_first(sides: TwoSides) -> None:
    """The same where both transactions had written something before the files were stored."""

    def work(session: Session) -> None:
        session.add_all([Document(id=9), Invoice(id=9)])
        session.flush()
        change(session)
        session.rollback()

    sides.run(work)
    assert sides.tags() == (SEED, SEED)


def test_commit_of_what_was_written_first(sides: TwoSides) -> None:
    """The same where they commit."""

    def work(session: Session) -> None:
        session.add_all([Document(id=9), Invoice(id=9)])
        session.flush()
        change(session)
        session.commit()

    sides.run(work)
    assert sides.tags() == CHANGED
    sides.recover()
    assert sides.tags() == CHANGED


def test_statements(sides: TwoSides) -> None:
    """Statements on a class change the ledger of the database in which they run."""

    def work(session: Session) -> None:
        session.execute(sa.delete(Document).where(Document.id == 1))
        session.execute(sa.update(Invoice).where(Invoice.id == 2).values(file=invoiced("right")))
        session.execute(sa.insert(Document), [{"id": 3, "file": a_file("three")}])
        session.commit()

    sides.run(work)
    assert sides.tags() == ({2: "two", 3: "three"}, {1: "one", 2: "right"})
    sides.recover()
    assert sides.tags() == ({2: "two", 3: "three"}, {1: "one", 2: "right"})


@pytest.mark.parametrize("release", [False, True])
def test_savepoint(sides: TwoSides, release: bool) -> None:  # noqa: FBT001
    """A savepoint is one in both databases, released or rolled back."""

    def work(session: Session) -> None:
        session.add_all([Document(id=9), Invoice(id=9)])
        session.flush()
        savepoint = session.begin_nested()
        change(session)
        if release:
            savepoint.commit()
        else:
            savepoint.rollback()
        session.commit()

    sides.run(work)
    assert sides.tags() == (CHANGED if release else (SEED, SEED))


@pytest.mark.parametrize("sides", ONE_PHASE, ids=str, indirect=True)
@pytest.mark.parametrize("attempt", range(4))  # SQLAlchemy commits in no particular order
@pytest.mark.parametrize("write_first", [False, True])
def test_commit_that_one_refuses(sides: TwoSides, write_first: bool, attempt: int) -> None:  # noqa: FBT001
    """Where only one of them can commit, both ledgers say what became of their own rows, and no bytes are missing.

    Written first, objects on SQLite have no entry but a note until their rows are committed.
    """
    del attempt

    def work(session: Session) -> None:
        if write_first:
            session.execute(sa.update(Document).values(name="written"))
        change(session)
        fail_at_commit(session)
        with pytest.raises(IntegrityError):
            session.commit()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # SQLAlchemy wonders about the one that has committed
            session.rollback()

    sides.run(work)
    left, right = sides.tags()
    assert left in (SEED, CHANGED[0])
    assert right == SEED
    sides.recover()
    assert sides.tags() == (left, right)


@pytest.mark.parametrize("sides", TWO_PHASES, ids=str, indirect=True)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_prepared(sides: TwoSides, end: Literal["commit", "rollback"]) -> None:
    """What both have prepared is committed or rolled back in both."""

    def work(session: Session) -> None:
        change(session)
        session.prepare()
        getattr(session, end)()

    sides.run(work)
    expected = CHANGED if end == "commit" else (SEED, SEED)
    assert sides.tags() == expected
    sides.recover()
    assert sides.tags() == expected
