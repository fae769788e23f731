"""Objects go with their rows and values, and only with them; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, defer

from litestar_filestore import StorageBackend
from tests.orm.databases import Database
from tests.orm.models import Document, a_file
from tests.tracking.documents import insert, read

if TYPE_CHECKING:
    from collections.abc import Callable


def _assign_none(session: Session, document: Document) -> None:
    document.file = None


def _assign_sql_null(session: Session, document: Document) -> None:
    document.file = sa.null()


def _assign_expired(session: Session, document: Document) -> None:
    session.expire(document)
    document.file = a_file(b"new")


def _clear_expired(session: Session, document: Document) -> None:
    session.expire(document, ["file"])
    document.file = None


def _delete_expired(session: Session, document: Document) -> None:
    session.expire(document)
    session.delete(document)


@pytest.mark.parametrize("change", [_assign_none, _assign_sql_null, _assign_expired, _clear_expired, _delete_expired])
def test_object_goes_with_its_value(db: Database, change: Callable[[Session, Document], None]) -> None:
    """The old object is found whether or not the attribute was loaded."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        change(session, session.get_one(Document, 1))
        session.commit()

    db.run(work)


def test_replacing_a_deferred_value_deletes_the_old_object(db: Database, backend: StorageBackend) -> None:
    """What was never loaded is looked up in the database."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.scalars(sa.select(Document).options(defer(Document.file))).one().file = a_file(b"new")
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"new"


@pytest.mark.slow
def test_many_rows_are_deleted_in_one_flush(db: Database) -> None:
    """More rows than one statement takes parameters for."""
    db.run(lambda session: insert(session, *[b"content"] * 450))

    def work(session: Session) -> None:
        for document in session.scalars(sa.select(Document)):
            session.delete(document)
        session.commit()

    db.run(work)


def test_delete_and_new_row_of_the_same_name_in_one_transaction(db: Database, backend: StorageBackend) -> None:
    """The delete of the old object never hits the new one."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.delete(session.get_one(Document, 1))
        session.add(Document(id=2, name="new", file=a_file(b"new")))
        session.commit()

    db.run(work)
    assert read(db, backend, 2) == b"new"


def test_delete_and_new_row_of_the_same_primary_key_in_one_transaction(db: Database, backend: StorageBackend) -> None:
    """SQLAlchemy makes one UPDATE of the two, and the old object goes all the same."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.delete(session.get_one(Document, 1))
        session.add(Document(id=1, name="new", file=a_file(b"new")))
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"new"


def test_new_row_of_the_same_primary_key_without_a_file(db: Database, backend: StorageBackend) -> None:
    """The row that takes the place of a deleted one inherits neither its file nor a reference to it."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.delete(session.get_one(Document, 1))
        session.add(Document(id=1, name="new"))
        session.commit()

    db.run(work)


def test_file_moves_from_a_deleted_row_to_a_new_one(db: Database, backend: StorageBackend) -> None:
    """An object that changes hands in one transaction stays."""
    db.run(lambda session: insert(session, b"moved"))

    def work(session: Session) -> None:
        old = session.get_one(Document, 1)
        session.add(Document(id=2, name="new", file=old.file))
        session.delete(old)
        session.commit()

    db.run(work)
    assert read(db, backend, 2) == b"moved"


def test_two_rows_swap_their_files(db: Database, backend: StorageBackend) -> None:
    """Both objects change hands, none is deleted."""
    db.run(lambda session: insert(session, b"first", b"second"))

    def work(session: Session) -> None:
        first, second = session.get_one(Document, 1), session.get_one(Document, 2)
        first.file, second.file = second.file, first.file
        session.commit()

    db.run(work)
    assert (read(db, backend, 1), read(db, backend, 2)) == (b"second", b"first")


def test_row_deleted_in_the_transaction_that_made_it(db: Database) -> None:
    """Neither the row nor its object is there afterwards."""

    def work(session: Session) -> None:
        session.add(document := Document(id=1, file=a_file()))
        session.flush()
        session.delete(document)
        session.commit()

    db.run(work)
