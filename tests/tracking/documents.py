"""What tests of the tracking do with documents over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.orm.models import Document, a_file

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from litestar_filestore import FileObject, StorageBackend
    from tests.orm.databases import Database

__all__ = ("insert", "read", "read_pages")


def insert(session: Session, *contents: bytes) -> None:
    """Commit documents 1, 2 ... with one file each, all of one name."""
    session.add_all(
        Document(id=number, name=f"document {number}", file=a_file(content))
        for number, content in enumerate(contents, start=1)
    )
    session.commit()


def read(db: Database, backend: StorageBackend, number: int) -> bytes | None:
    """Return the content of a document's file, ``None`` without a file."""
    key = db.run(lambda session: _key(session.get_one(Document, number).file))
    return None if key is None else backend.get_content(key)


def read_pages(db: Database, backend: StorageBackend) -> list[bytes]:
    """Return the contents of the pages of the first document."""
    keys = db.run(lambda session: [_key(page) for page in session.get_one(Document, 1).pages or ()])
    return [backend.get_content(key) for key in keys if key is not None]


def _key(file: FileObject | None) -> str | None:
    return None if file is None else file.path
