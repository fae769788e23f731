"""The models that most tests of the columns share."""

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject

__all__ = ("BACKEND", "Base", "Document", "Note", "a_file")

BACKEND = "orm"


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True))


class Note(Base):
    """Refers to a document, which the database checks at COMMIT only."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(sa.ForeignKey("document.id", deferrable=True, initially="DEFERRED"))
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


def a_file(content: bytes = b"content", filename: str = "same.txt") -> FileObject:
    """Make a file that is still to be stored; all of them have one name unless told otherwise."""
    return FileObject(BACKEND, filename, content=content)
