"""A transaction that does not commit changes nothing; `db` compares store and rows after each test."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend
from tests.orm.databases import Database
from tests.orm.models import Document, Note, a_file
from tests.tracking.documents import insert, read


def test_rollback_takes_the_content_back(db: Database, backend: StorageBackend) -> None:
    """After a rollback the row and its file can be committed once more."""

    def work(session: Session) -> None:
        document = Document(id=1, file=a_file(b"content"))
        session.add(document)
        session.flush()
        session.rollback()
        session.add(document)
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"content"


@pytest.mark.parametrize("end", ["close", "error", "rollback"])
def test_transaction_that_does_not_commit_changes_nothing(db: Database, backend: StorageBackend, end: str) -> None:
    """Insert, replacement and delete vanish, whichever way the transaction ends."""
    db.run(lambda session: insert(session, b"replaced", b"deleted"))

    def work(session: Session) -> None:
        session.add(Document(id=3, file=a_file()))
        session.get_one(Document, 1).file = a_file(b"new")
        session.delete(session.get_one(Document, 2))
        session.flush()
        if end == "rollback":
            session.rollback()
        if end == "error":
            raise LookupError

    if end == "error":
        with pytest.raises(LookupError):
            db.run(work)
    else:
        db.run(work)
    assert (read(db, backend, 1), read(db, backend, 2)) == (b"replaced", b"deleted")


def test_session_used_again_after_close_forgets_the_first_transaction(db: Database, backend: StorageBackend) -> None:
    """A delete that was never committed is not carried out by the next commit."""
    db.run(lambda session: insert(session, b"kept"))

    def work(session: Session) -> None:
        session.delete(session.get_one(Document, 1))
        session.flush()
        session.close()
        session.add(Document(id=2, file=a_file()))
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"kept"


def test_unique_violation_at_flush_changes_nothing(db: Database) -> None:
    """The row is refused, and its bytes go."""
    db.run(lambda session: insert(session, b"first"))

    def work(session: Session) -> None:
        session.add(Document(id=2, name="document 1", file=a_file()))
        session.commit()

    with pytest.raises(IntegrityError):
        db.run(work)


def test_violation_at_commit_changes_nothing(db: Database, backend: StorageBackend) -> None:
    """A COMMIT that the database refuses for a reason is a rollback."""
    db.run(lambda session: insert(session, b"kept"))

    def work(session: Session) -> None:
        session.get_one(Document, 1).file = a_file(b"new")
        session.add(Note(id=1, document_id=404, file=a_file()))
        session.flush()
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()

    db.run(work)
    assert read(db, backend, 1) == b"kept"
