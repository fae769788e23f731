"""Content is stored before its row, and the row is complete; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend
from litestar_filestore.errors import InvalidArgumentError
from tests.orm.databases import Database
from tests.orm.models import BACKEND, Base, Document, a_file
from tests.tracking.documents import insert, read, read_pages

if TYPE_CHECKING:
    from pathlib import Path


def test_content_is_stored_when_commit_returns(db: Database, backend: StorageBackend) -> None:
    """There is no moment after the commit at which the row points at nothing."""

    def work(session: Session) -> bool:
        session.add(document := Document(id=1, file=a_file()))
        session.commit()
        return document.file is not None and backend.exists(document.file.path)

    assert db.run(work)


def test_content_is_stored_when_flush_returns(db: Database, backend: StorageBackend) -> None:
    """The bytes come before the row."""

    def work(session: Session) -> bool:
        session.add(document := Document(id=1, file=a_file()))
        session.flush()
        stored = document.file is not None and backend.exists(document.file.path)
        session.commit()
        return stored

    assert db.run(work)


def test_row_knows_everything_about_its_file(db: Database) -> None:
    """Size, etag, checksum, time and type are complete in the row itself."""
    db.run(lambda session: insert(session, b"content"))
    file = db.run(lambda session: session.get_one(Document, 1).file)
    assert file is not None
    assert (file.filename, file.size, file.content_type) == ("same.txt", 7, "text/plain")
    assert file.etag
    assert file.checksum
    assert file.last_modified


def test_each_of_several_commits_stores_its_file(db: Database, backend: StorageBackend) -> None:
    """A session that commits again and again loses nothing in between."""

    def work(session: Session) -> None:
        for number in range(1, 6):
            session.add(Document(id=number, file=a_file(b"%d" % number)))
            session.commit()

    db.run(work)
    assert [read(db, backend, number) for number in range(1, 6)] == [b"1", b"2", b"3", b"4", b"5"]


def test_two_files_of_one_name_in_one_flush_are_two_objects(db: Database, backend: StorageBackend) -> None:
    """The client's name is no key."""
    db.run(lambda session: insert(session, b"first", b"second"))
    assert (read(db, backend, 1), read(db, backend, 2)) == (b"first", b"second")


def test_deleting_a_row_leaves_the_file_of_the_same_name_in_another(db: Database, backend: StorageBackend) -> None:
    """Two uploads of one name share nothing."""
    db.run(lambda session: insert(session, b"first", b"second"))

    def work(session: Session) -> None:
        session.delete(session.get_one(Document, 1))
        session.commit()

    db.run(work)
    assert read(db, backend, 2) == b"second"


def test_replacing_with_the_same_name_stores_the_new_content(db: Database, backend: StorageBackend) -> None:
    """A new file is a change, whatever it is called."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.get_one(Document, 1).file = a_file(b"new")
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"new"


def test_replacing_twice_in_one_transaction_keeps_the_last(db: Database, backend: StorageBackend) -> None:
    """What was stored and replaced before the commit goes with it."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        document = session.get_one(Document, 1)
        for content in (b"second", b"third"):
            document.file = a_file(content)
            session.flush()
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"third"


def test_empty_content_is_stored(db: Database, backend: StorageBackend) -> None:
    """An empty file is a file."""
    db.run(lambda session: insert(session, b""))
    assert read(db, backend, 1) == b""


def test_content_in_a_file_of_the_operating_system_is_stored(
    db: Database, backend: StorageBackend, tmp_path: Path
) -> None:
    """A source path is content like any other."""
    (tmp_path / "source").write_bytes(b"from disk")

    def work(session: Session) -> None:
        session.add(Document(id=1, file=FileObject(BACKEND, "a.bin", source_path=tmp_path / "source")))
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"from disk"


def test_saving_a_linked_file_again_replaces_its_object(db: Database, backend: StorageBackend) -> None:
    """Content saved through the value of a row gets a new key, and the row notices."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        document = session.get_one(Document, 1)
        assert document.file is not None
        document.file.save(b"new")
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"new"


def test_metadata_changed_in_place_is_written(db: Database) -> None:
    """The row notices `update_metadata`, and its object stays."""
    db.run(lambda session: insert(session, b"content"))

    def work(session: Session) -> None:
        document = session.get_one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"page": 1})
        session.commit()

    db.run(work)
    file = db.run(lambda session: session.get_one(Document, 1).file)
    assert file is not None
    assert file.metadata == {"page": 1}


def test_file_in_another_backend_is_refused(db: Database) -> None:
    """A column holds objects of its own backend, so that nobody reads or deletes others through it."""

    def work(session: Session) -> None:
        session.add(Document(id=1, file=FileObject("payroll", "salaries.csv")))
        session.commit()

    with pytest.raises(InvalidArgumentError, match="payroll"):
        db.run(work)


def test_merge_with_new_content_replaces(db: Database, backend: StorageBackend) -> None:
    """A merged instance brings its file along."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        session.merge(Document(id=1, name="merged", file=a_file(b"new")))
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"new"


def test_merge_of_a_detached_row_changes_nothing(db: Database, backend: StorageBackend) -> None:
    """The same file is no new file."""
    db.run(lambda session: insert(session, b"old"))

    def work(session: Session) -> None:
        document = session.get_one(Document, 1)
        session.expunge(document)
        document.name = "renamed"
        session.merge(document)
        session.commit()

    db.run(work)
    assert read(db, backend, 1) == b"old"


def test_merge_of_an_unknown_row_inserts(db: Database, backend: StorageBackend) -> None:
    """A merge that inserts stores the content as well."""

    def work(session: Session) -> None:
        session.merge(Document(id=1, file=a_file(b"new"), pages=[a_file(b"page")]))
        session.commit()

    db.run(work)
    assert (read(db, backend, 1), read_pages(db, backend)) == (b"new", [b"page"])


def test_pending_file_in_a_core_insert_is_refused(db: Database) -> None:
    """A row that would point at missing bytes is not written."""

    def work(session: Session) -> None:
        session.connection().execute(sa.insert(Base.metadata.tables["document"]), [{"id": 1, "file": a_file()}])

    with pytest.raises(StatementError, match="not stored"):
        db.run(work)


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_row_without_changed_files_is_written_without_a_look_up(db: Database) -> None:
    """Other columns cost no further statement."""
    db.run(lambda session: insert(session, b"content"))
    statements: list[str] = []

    def work(session: Session) -> None:
        session.get_one(Document, 1).name = "renamed"
        statements.clear()
        session.commit()

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    db.run(work)
    assert statements == ["UPDATE"]
