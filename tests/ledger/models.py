"""The model whose rows, ledger and objects the tests of the ledger compare."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject

__all__ = ("BACKEND", "Base", "Document", "a_file", "blocks_of", "content_of")

BACKEND = "ledger"
_REPEATS = 1000


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100))
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True))


def a_file(tag: str, backend: str = BACKEND) -> FileObject:
    """Make a file that is still to be stored; it comes in two blocks, and its name tells its content."""
    return FileObject(backend, f"{tag}.txt", content=blocks_of(tag))


def blocks_of(tag: str) -> list[bytes]:
    """Return the content of `a_file` in two blocks."""
    return [tag.encode() * _REPEATS] * 2


def content_of(tag: str) -> bytes:
    """Return the content of `a_file`."""
    return b"".join(blocks_of(tag))
