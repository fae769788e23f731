"""Models in a metadata without a ledger, and what tests of the journal do with them over and over."""

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, StoredObject
from litestar_filestore.ledger.table import LEDGER_SWITCH
from tests.orm.databases import Database, keys_in_rows
from tests.orm.models import BACKEND, a_file

__all__ = ("Base", "Note", "Paper", "delete_all", "insert", "key_of", "replace")


class Base(DeclarativeBase):
    metadata = sa.MetaData(info={LEDGER_SWITCH: False})


class Paper(Base):
    __tablename__ = "paper"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Note(Base):
    """Refers to a paper, which the database checks at COMMIT only."""

    __tablename__ = "paper_note"

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int] = mapped_column(sa.ForeignKey("paper.id", deferrable=True, initially="DEFERRED"))


def insert(session: Session, count: int = 1) -> None:
    """Commit papers 1, 2 ... with one file each."""
    session.add_all(Paper(id=number, file=a_file()) for number in range(1, count + 1))
    session.commit()


def replace(session: Session, number: int = 1) -> None:
    """Give a paper a new file, without committing."""
    session.get_one(Paper, number).file = a_file(b"new")
    session.flush()


def delete_all(session: Session) -> None:
    """Delete all papers."""
    for paper in session.scalars(sa.select(Paper)):
        session.delete(paper)
    session.commit()


def key_of(db: Database) -> str:
    """Return the key in the first row."""
    ((_, key),) = keys_in_rows(db)
    return key
