"""One table, read and written by Advanced Alchemy's columns and by ours."""

from typing import Any

import pytest
from advanced_alchemy.types import FileObject as TheirFile, StoredObject as TheirStoredObject
from advanced_alchemy.types.file_object import storages as their_storages
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as TheirBackend
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject
from tests.orm.databases import Database, committed
from tests.orm.models import BACKEND, a_file


class Theirs(DeclarativeBase):
    pass


class TheirDocument(Theirs):
    __tablename__ = "shared"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[TheirFile | None] = mapped_column(TheirStoredObject(BACKEND))
    pages: Mapped[list[TheirFile] | None] = mapped_column(TheirStoredObject(BACKEND, multiple=True))


class Ours(DeclarativeBase):
    pass


class OurDocument(Ours):
    __tablename__ = "shared"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True))


@pytest.fixture
def shared(db: Database) -> Any:
    """A database in which both libraries have a table of one name."""
    their_storages.register_backend(TheirBackend(key=BACKEND, fs="memory://"))
    db.connect(committed(Theirs.metadata.create_all))
    yield db
    db.connect(committed(Theirs.metadata.drop_all))
    their_storages.unregister_backend(BACKEND)


def test_rows_of_advanced_alchemy_are_read(shared: Database) -> None:
    """Moving over needs no data migration."""

    def write(session: Session) -> None:
        page = TheirFile(BACKEND, "page.txt", size=3)
        file = TheirFile(BACKEND, "a.txt", "folder/b.txt", "text/csv", 7, 1.5, "sum", '"tag"', "v1", {"k": [1]})
        session.add(TheirDocument(id=1, file=file, pages=[page, page]))
        session.commit()

    def read(session: Session) -> tuple[dict[str, Any], list[str]]:
        document = session.get_one(OurDocument, 1)
        assert document.file is not None
        return document.file.to_dict(), [page.path for page in document.pages or ()]

    shared.run(write)
    assert shared.run(read) == (
        {
            "filename": "folder/b.txt",
            "content_type": "text/csv",
            "size": 7,
            "last_modified": 1.5,
            "checksum": "sum",
            "etag": '"tag"',
            "version_id": "v1",
            "metadata": {"k": [1]},
            "backend": BACKEND,
        },
        ["page.txt", "page.txt"],
    )


def test_rows_are_read_by_advanced_alchemy(shared: Database) -> None:
    """The way back is open as well: key and metadata arrive."""

    def write(session: Session) -> str:
        session.add(document := OurDocument(id=1, file=a_file(b"content"), pages=[a_file(b"page")]))
        session.commit()
        assert document.file is not None
        key = document.file.path
        assert document.pages is not None
        for file in (document.file, *document.pages):
            file.delete()  # the check at the end knows nothing of this table
        return key

    def read(session: Session) -> tuple[str, int | None, int]:
        document = session.get_one(TheirDocument, 1)
        assert document.file is not None
        return document.file.path, document.file.size, len(document.pages or ())

    assert shared.run(write) == shared.run(read)[0]
    assert shared.run(read)[1:] == (7, 1)
