"""Sessions of all kinds; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from litestar_filestore import StorageBackend
from tests.orm.databases import Database
from tests.orm.models import Document, a_file
from tests.tracking.documents import insert, read

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnSession(Session):
    """A session class of the application."""


@pytest.mark.parametrize("db", ["sqlite", "psycopg"], indirect=True)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(Session, id="Session"),
        pytest.param(OwnSession, id="subclass"),
        pytest.param(lambda engine: sessionmaker(engine)(), id="sessionmaker"),
        pytest.param(lambda engine: sessionmaker(engine, class_=OwnSession, autoflush=False)(), id="with a class"),
        pytest.param(lambda engine: scoped_session(sessionmaker(engine)), id="scoped_session"),
    ],
)
def test_every_session_is_tracked(db: Database, backend: StorageBackend, make: Callable[[Any], Any]) -> None:
    """No configuration has to make the session."""
    session = make(db.engine)
    insert(session, b"first")
    session.get(Document, 1).file = a_file(b"second")
    session.commit()
    session.close()
    assert read(db, backend, 1) == b"second"


@pytest.mark.parametrize("change", ["name", "file", "file to None"])
@pytest.mark.parametrize("db", ["sqlite", "psycopg"], indirect=True)
def test_listener_that_comes_later_is_seen(db: Database, backend: StorageBackend, change: str) -> None:
    """What an application's own before_flush assigns is stored, and what it takes away is deleted."""
    db.run(lambda session: insert(session, b"old"))

    def assign(session: Session, _context: object, _instances: object) -> None:
        for row in session.dirty:
            row.file = None if change == "file to None" else a_file(b"new")

    def work(session: Session) -> None:
        event.listen(session, "before_flush", assign)
        document = session.get_one(Document, 1)
        document.name = "renamed"
        if change != "name":
            document.file = a_file(b"in between")
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == (None if change == "file to None" else b"new")
