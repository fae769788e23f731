"""Savepoints, released and rolled back; `db` compares store and rows after each test."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend
from tests.orm.databases import Database
from tests.orm.models import Document, a_file
from tests.tracking.documents import insert, read


def test_rolled_back_savepoint_leaves_the_outer_file(db: Database, backend: StorageBackend) -> None:
    """The outer row keeps its bytes, the inner row's bytes go."""

    def work(session: Session) -> None:
        session.add(Document(id=1, file=a_file(b"outer")))
        session.flush()
        savepoint = session.begin_nested()
        session.add(Document(id=2, file=a_file(b"inner")))
        session.flush()
        savepoint.rollback()
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"outer"


def test_rolled_back_savepoint_keeps_what_it_replaced(db: Database, backend: StorageBackend) -> None:
    """A replacement inside of a savepoint is undone with it."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.add(Document(id=2, file=a_file()))
        session.flush()
        savepoint = session.begin_nested()
        session.get_one(Document, 1).file = a_file(b"new")
        session.flush()
        savepoint.rollback()
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"old"


def test_released_savepoint_shares_the_fate_of_the_outer_rollback(db: Database, backend: StorageBackend) -> None:
    """What a released savepoint replaced is still there when the transaction around it fails."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.add(Document(id=2, file=a_file()))
        session.flush()
        with session.begin_nested():
            session.get_one(Document, 1).file = a_file(b"new")
            session.add(Document(id=3, file=a_file()))
        session.rollback()

    db.run(work)
    assert read(db, backend, 1) == b"old"


def test_released_savepoint_commits_with_the_outer_transaction(db: Database, backend: StorageBackend) -> None:
    """Replacements inside and outside of savepoints end together."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        with session.begin_nested():
            session.get_one(Document, 1).file = a_file(b"second")
        with session.begin_nested():
            session.get_one(Document, 1).file = a_file(b"third")
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"third"


@pytest.mark.parametrize("inner_commits", [True, False])
@pytest.mark.parametrize("middle_commits", [True, False])
@pytest.mark.parametrize("outer_commits", [True, False])
def test_savepoints_in_savepoints(
    db: Database,
    inner_commits: bool,  # noqa: FBT001
    middle_commits: bool,  # noqa: FBT001
    outer_commits: bool,  # noqa: FBT001
) -> None:
    """Whatever combination of levels commits, store and rows agree."""
    db.run(lambda session: insert(session, b"1", b"2", b"3"))

    def level(session: Session, number: int) -> None:
        session.get_one(Document, number).file = a_file(b"new")
        session.add(Document(id=number + 10, file=a_file()))
        session.flush()

    def work(session: Session) -> None:
        level(session, 1)
        middle = session.begin_nested()
        level(session, 2)
        inner = session.begin_nested()
        level(session, 3)
        inner.commit() if inner_commits else inner.rollback()
        middle.commit() if middle_commits else middle.rollback()
        session.commit() if outer_commits else session.rollback()

    db.run(work)


def test_savepoint_before_anything_else(db: Database) -> None:
    """On SQLite such a savepoint is the transaction, and its release a commit that no rollback takes back."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        with session.begin_nested():
            session.get_one(Document, 1).file = a_file(b"new")
        session.rollback()

    db.run(work)
