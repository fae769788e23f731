"""Two sessions at one row: whoever comes second replaces what the first one wrote."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from litestar_filestore.errors import ConflictError
from tests.orm.models import Document, a_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from litestar_filestore import StorageBackend
    from tests.orm.databases import Database


@pytest.mark.parametrize("db", ["sqlite", "psycopg"], indirect=True)
@pytest.mark.parametrize("deletes", [False, True], ids=["replace", "delete"])
def test_second_session_disposes_of_what_the_first_wrote(
    db: Database,
    backend: StorageBackend,
    deletes: bool,  # noqa: FBT001
) -> None:
    """The file that the second session loaded is gone by the time it writes; it removes the first session's."""
    db.run(_insert)
    waits = threading.Event()
    loaded = threading.Event()

    def second(session: Session) -> None:
        document = session.get_one(Document, 1)
        assert document.file is not None
        session.rollback()  # sqlite3 would hold on to a read lock
        loaded.set()
        if deletes:
            session.delete(document)
        else:
            document.file = a_file(b"second")
        if db.engine.dialect.name == "sqlite":
            waits.set()  # for its turn, before it writes anything
        session.commit()

    def first(session: Session) -> None:
        session.get_one(Document, 1).file = a_file(b"first")
        session.flush()
        event.listen(db.engine, "before_cursor_execute", notice)
        result = pool.submit(db.run, second)
        assert loaded.wait(30)
        assert waits.wait(30)
        session.commit()
        result.result(timeout=30)

    def notice(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if (loaded.is_set() and statement.startswith(("UPDATE", "DELETE"))) or "FOR UPDATE" in statement:
            waits.set()

    with ThreadPoolExecutor(1) as pool:
        db.run(first)
    event.remove(db.engine, "before_cursor_execute", notice)


def _insert(session: Session) -> None:
    session.add(Document(id=1, file=a_file(b"old")))
    session.commit()


@pytest.mark.parametrize("db", ["psycopg"], indirect=True)
def test_rows_are_locked_in_one_order(db: Database) -> None:
    """Two sessions that replace the same rows from opposite ends do not wait for each other in a circle."""
    numbers = range(1, 21)
    barrier = threading.Barrier(2)

    def fill(session: Session) -> None:
        session.add_all(Document(id=number, file=a_file()) for number in numbers)
        session.commit()

    def replace(session: Session, order: Sequence[int]) -> None:
        barrier.wait(30)
        with session.no_autoflush:
            for number in order:
                session.get_one(Document, number).file = a_file(b"new")
        with suppress(ConflictError):  # the second one finds rows that are not what it has loaded
            session.commit()

    db.run(fill)
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(db.run, partial(replace, order=order)) for order in (numbers, tuple(reversed(numbers)))]
        for result in results:
            result.result(timeout=60)
