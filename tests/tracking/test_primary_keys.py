"""Primary keys that come back from the database in another form than the session knows them in."""

import datetime as dt

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, StorageBackend, StoredObject
from litestar_filestore.errors import ConflictError
from tests.orm.databases import Database, keys_in_rows
from tests.orm.models import BACKEND, a_file

NOW = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "keys_ticket"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Reading(Base):
    __tablename__ = "keys_reading"

    at: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), primary_key=True)
    sensor: Mapped[str] = mapped_column(sa.CHAR(10), primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The models of this module."""
    return Base


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite", "psycopg"], indirect=True)
def test_number_as_text(db: Database, backend: StorageBackend) -> None:
    """Rows whose numbers were given as text keep their own files."""

    def work(session: Session) -> None:
        tickets = [Ticket(id=each, file=a_file(b"old")) for each in ("5", "6", "7")]
        session.add_all(tickets)
        session.commit()
        for ticket in tickets[1:]:
            ticket.file = a_file(b"new")
        session.delete(tickets[0])
        session.commit()

    db.run(work, expire_on_commit=False)
    db.settle()
    assert [backend.get_content(key) for _, key in keys_in_rows(db)] == [b"new"] * 2


def test_time_with_a_zone(db: Database, backend: StorageBackend) -> None:
    """So do times whose zone is lost, and text that comes back padded with blanks."""

    def work(session: Session) -> None:
        readings = [Reading(at=NOW, sensor=each, file=a_file(b"old")) for each in ("a", "b")]
        session.add_all(readings)
        session.commit()
        readings[0].file = a_file(b"new")
        session.commit()

    db.run(work, expire_on_commit=False)
    db.settle()
    assert sorted(backend.get_content(key) for _, key in keys_in_rows(db)) == [b"new", b"old"]


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_row_that_is_gone(db: Database) -> None:
    """A row that another transaction deleted is still found out, among others."""

    def work(session: Session) -> None:
        session.add_all(tickets := [Ticket(id=each) for each in ("5", "6")])
        session.commit()
        session.execute(sa.text("DELETE FROM keys_ticket WHERE id = 5"))
        session.commit()
        for ticket in tickets:
            ticket.file = a_file(b"new")
        with pytest.raises(ConflictError):
            session.commit()

    db.run(work, expire_on_commit=False)
