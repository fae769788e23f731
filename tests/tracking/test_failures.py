"""Stores and sources that fail; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver
from tests.orm.databases import Database
from tests.orm.models import BACKEND, Document, a_file
from tests.tracking.documents import read

if TYPE_CHECKING:
    from collections.abc import Iterator


DOWN = BackendUnavailableError("The store is down")


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("call", [1, 2])
def test_failing_store_fails_the_transaction(
    db: Database,
    driver: FaultyDriver,
    after_effect: bool,  # noqa: FBT001
    call: int,
) -> None:
    """The caller of commit sees the error, and nothing was committed, whether or not the failed put had its effect."""
    driver.plan.append(Fault("put", DOWN, call=call, after_effect=after_effect))

    def work(session: Session) -> int | None:
        session.add_all([Document(id=1, file=a_file()), Document(id=2, file=a_file())])
        with pytest.raises(BackendUnavailableError):
            session.commit()
        session.rollback()
        return session.scalar(sa.select(sa.func.count()).select_from(Document))

    assert db.run(work) == 0


def test_transaction_works_once_the_store_is_back(db: Database, driver: FaultyDriver, backend: StorageBackend) -> None:
    """The same commit can be tried again: the content is still with the file."""
    driver.plan.append(Fault("put", DOWN))

    def work(session: Session) -> None:
        session.add(Document(id=1, file=a_file(b"content")))
        with pytest.raises(BackendUnavailableError):
            session.commit()
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"content"


def test_row_given_up_after_another_failed_leaves_no_bytes(db: Database, driver: FaultyDriver) -> None:
    """What a failed flush had stored goes with the commit if no row needs it then."""
    driver.plan.append(Fault("put", DOWN, call=2))

    def work(session: Session) -> None:
        documents = [Document(id=1, file=a_file()), Document(id=2, file=a_file())]
        session.add_all(documents)
        with pytest.raises(BackendUnavailableError):
            session.flush()
        for document in documents:
            session.expunge(document)
        session.add(Document(id=3, file=a_file()))
        session.commit()

    db.run(work)


def test_failing_source_fails_the_transaction(db: Database) -> None:
    """What the source raises reaches the caller as it is."""

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise LookupError

    def work(session: Session) -> None:
        session.add(Document(id=1, file=FileObject(BACKEND, "a.txt", content=broken())))
        session.commit()

    with pytest.raises(LookupError):
        db.run(work)


def test_pinned_key_that_is_taken_fails_and_leaves_the_other_object(db: Database, backend: StorageBackend) -> None:
    """A pinned key never overwrites, and its failure never deletes what lies there."""

    def add(session: Session, number: int) -> None:
        session.add(Document(id=number, file=FileObject(BACKEND, "a.txt", "pinned", content=b"%d" % number)))
        session.commit()

    db.run(lambda session: add(session, 1))
    with pytest.raises(FileExistsError):
        db.run(lambda session: add(session, 2))
    assert read(db, backend, 1) == b"1"
