"""Without a ledger, how a transaction ends decides what is deleted, and doubt deletes nothing."""

import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from litestar_filestore import FileObject, StorageBackend
from litestar_filestore.errors import BackendUnavailableError, SourceTypeError
from litestar_filestore.testing import Fault, FaultyDriver
from tests.orm.databases import Database, keys_in, keys_in_rows
from tests.orm.models import BACKEND, a_file
from tests.tracking.papers import Base, Note, Paper, insert, key_of, replace


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """Models without a ledger."""
    return Base


class LostAnswerError(Exception):
    """The connection broke while COMMIT was on its way."""


def lose_answer(db: Database, *, applied: bool) -> None:
    """Let COMMIT reach the database or not, and raise in both cases."""
    dialect = db.engine.dialect
    commit = dialect.do_commit

    def do_commit(dbapi_connection: Any) -> None:
        dialect.do_commit = commit  # type: ignore[method-assign]
        if applied:
            commit(dbapi_connection)
        raise LostAnswerError

    dialect.do_commit = do_commit  # type: ignore[method-assign]


@pytest.mark.parametrize("applied", [True, False])
def test_ambiguous_commit_deletes_nothing(
    db: Database,
    backend: StorageBackend,
    caplog: pytest.LogCaptureFixture,
    applied: bool,  # noqa: FBT001
) -> None:
    """Whether or not the commit took place, the row that is there has its object; the other one is named in the log."""
    db.run(insert)

    def work(session: Session) -> None:
        replace(session)
        lose_answer(db, applied=applied)
        with pytest.raises(LostAnswerError):
            session.commit()
        session.rollback()

    db.run(work)
    ((_, superfluous),) = keys_in(backend) - keys_in_rows(db)
    assert keys_in_rows(db) < keys_in(backend)
    assert superfluous in caplog.text
    backend.delete(superfluous)


def test_commit_after_a_swallowed_error_is_no_silent_rollback(db: Database) -> None:
    """PostgreSQL rolls back when a transaction with a failed statement is committed; the caller must learn it."""
    db.run(insert)

    def work(session: Session) -> None:
        replace(session)
        with pytest.raises(DBAPIError):
            session.execute(sa.text("SELECT nothing FROM nowhere"))
        if session.get_bind().dialect.name == "sqlite":
            session.commit()  # there, only the statement failed
        else:
            with pytest.raises(DBAPIError):
                session.commit()
            session.rollback()

    db.run(work)


def test_error_inside_of_a_savepoint_does_not_disturb_the_commit(db: Database, backend: StorageBackend) -> None:
    """A savepoint that was rolled back has healed the transaction."""
    db.run(insert)

    def work(session: Session) -> None:
        replace(session)
        with pytest.raises(DBAPIError), session.begin_nested():
            session.execute(sa.text("SELECT nothing FROM nowhere"))
        session.commit()

    db.run(work)
    assert backend.get_content(key_of(db)) == b"new"


@pytest.mark.parametrize("db", ["sqlite", "psycopg"], indirect=True)
@pytest.mark.parametrize("outer", ["commit", "rollback"])
def test_session_inside_of_a_transaction_of_the_application(
    db: Database, backend: StorageBackend, caplog: pytest.LogCaptureFixture, outer: str
) -> None:
    """The session's commit is not the end: the old object stays, as the application may still roll back."""
    db.run(insert)

    def work(connection: sa.Connection) -> None:
        transaction = connection.begin()
        connection.execute(sa.text("DELETE FROM paper WHERE id = 404"))  # sqlite3 begins with the first write
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            replace(session)
            session.commit()
        getattr(transaction, outer)()

    db.connect(work)
    assert keys_in_rows(db) < keys_in(backend)
    ((_, superfluous),) = keys_in(backend) - keys_in_rows(db)
    assert superfluous in caplog.text
    backend.delete(superfluous)


def test_ordinary_end_is_not_logged(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Commits and rollbacks are no news."""
    caplog.set_level(logging.INFO, "litestar_filestore")

    def work(session: Session) -> None:
        insert(session)
        replace(session)
        session.rollback()
        replace(session)
        session.commit()

    db.run(work)
    assert not caplog.records


def test_file_saved_by_hand_survives_a_rollback(db: Database, backend: StorageBackend) -> None:
    """Who saves by hand owns the object: a second try with the same file finds it."""

    def work(session: Session) -> None:
        file = a_file()
        file.save()
        session.add(Paper(id=1, file=file))
        session.flush()
        session.rollback()
        session.add(Paper(id=1, file=file))
        session.commit()

    db.run(work)
    assert backend.exists(key_of(db))


def test_content_that_can_be_read_once_is_refused_after_a_rollback(db: Database) -> None:
    """A consumed iterator must not become an empty or a missing file."""

    def work(session: Session) -> None:
        paper = Paper(id=1, file=FileObject(BACKEND, "a.txt", content=iter([b"once"])))
        session.add(paper)
        session.flush()
        session.rollback()
        session.add(paper)
        with pytest.raises(SourceTypeError):
            session.commit()

    db.run(work)


def test_failed_put_that_had_its_effect_leaves_nothing(db: Database, driver: FaultyDriver) -> None:
    """A lost answer of the store is no reason to keep what nobody knows of."""
    driver.plan.append(Fault("put", BackendUnavailableError("The answer was lost"), after_effect=True))
    with pytest.raises(BackendUnavailableError):
        db.run(insert)


def test_commit_that_the_database_refuses_is_a_rollback(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A violated constraint is an answer: the new object goes at once, and nothing is uncertain."""
    db.run(insert)

    def work(session: Session) -> None:
        replace(session)
        session.add(Note(id=1, paper_id=404))
        session.flush()
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()

    db.run(work)
    assert not caplog.records


def test_session_that_is_closed_after_a_refused_commit_leaves_nothing_open(db: Database) -> None:
    """Whoever gets the connection next must not commit the refused rows, whose objects are deleted by then."""

    def refused(session: Session) -> None:
        session.add_all([Paper(id=1, file=a_file()), Note(id=1, paper_id=404)])
        with pytest.raises(IntegrityError):
            session.commit()
        session.close()  # and no rollback before

    def heals(session: Session) -> None:
        session.add(Paper(id=404))
        session.commit()

    db.run(refused)
    db.run(heals)
    assert keys_in_rows(db) == set()


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
def test_commit_that_a_reader_holds_up_is_a_rollback(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite without a log for readers commits when nobody reads; what it does not commit leaves no object."""
    path = str(db.engine.url.database)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:

        def work(session: Session) -> None:
            session.execute(sa.text("PRAGMA busy_timeout = 1"))
            session.add(Paper(id=1, file=a_file()))
            session.flush()
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM paper").fetchall()
            with pytest.raises(OperationalError, match="locked"):
                session.commit()

        db.run(work)
        reader.execute("COMMIT")
    assert (keys_in_rows(db), caplog.records) == (set(), [])


def test_object_that_moves_to_another_row_stays(db: Database, backend: StorageBackend) -> None:
    """Taken out of one row and put into another in one transaction, in one flush or two."""
    db.run(lambda session: insert(session, 2))

    def work(session: Session) -> None:
        first, second = session.get_one(Paper, 1), session.get_one(Paper, 2)
        first.file, second.file = second.file, first.file
        session.flush()
        session.add(Paper(id=3, file=first.file))
        session.delete(first)
        session.commit()

    db.run(work)
    assert len(keys_in(backend)) == 2


def test_rollback_makes_the_file_new_again(db: Database) -> None:
    """Its object is gone, its content is with it again."""

    def work(session: Session) -> bool:
        session.add(paper := Paper(id=1, file=a_file()))
        session.flush()
        session.rollback()
        return paper.file is not None and paper.file.has_pending_data

    assert db.run(work)


def test_row_given_up_after_another_failed_leaves_no_bytes(db: Database, driver: FaultyDriver) -> None:
    """What a failed flush had stored goes with the commit if no row needs it then."""
    driver.plan.append(Fault("put", BackendUnavailableError("The store is down"), call=2))

    def work(session: Session) -> None:
        papers = [Paper(id=1, file=a_file()), Paper(id=2, file=a_file())]
        session.add_all(papers)
        with pytest.raises(BackendUnavailableError):
            session.flush()
        for paper in papers:
            session.expunge(paper)
        session.add(Paper(id=3, file=a_file()))
        session.commit()

    db.run(work)
