"""Lists in which clients name what stays by ids; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, defer

from litestar_filestore import FileObject, FileObjectList, StorageBackend
from litestar_filestore.core.file_object import sent_file
from litestar_filestore.errors import ConflictError, FileRejectedError
from tests.orm.databases import Database
from tests.orm.models import Document, a_file
from tests.tracking.documents import read_pages

if TYPE_CHECKING:
    from collections.abc import Callable


def insert(session: Session) -> list[str]:
    """Commit a document with the pages 1, 2 and 3 and another one with a page; return the ids of the first one's."""
    pages = [a_file(content) for content in (b"1", b"2", b"3")]
    session.add_all([Document(id=1, pages=pages), Document(id=2, name="other", pages=[a_file(b"other")])])
    session.commit()
    return [str(page.id) for page in pages]


def _by_attribute(session: Session, pages: list[FileObject]) -> None:
    session.get_one(Document, 1).pages = FileObjectList(pages)
    session.commit()


def _unloaded(session: Session, pages: list[FileObject]) -> None:
    document = session.get_one(Document, 1, options=[defer(Document.pages)])
    document.pages = FileObjectList(pages)
    document.pages = FileObjectList(pages)  # what is there now is not known yet either
    session.commit()


def _in_place(session: Session, pages: list[FileObject]) -> None:
    document = session.get_one(Document, 1)
    assert document.pages is not None
    document.pages[:] = pages
    session.commit()


def _by_merge(session: Session, pages: list[FileObject]) -> None:
    session.merge(Document(id=1, pages=pages))
    session.commit()


def _by_update(session: Session, pages: list[FileObject]) -> None:
    session.execute(sa.update(Document).where(Document.id == 1).values(pages=pages))
    session.commit()


def _by_key(session: Session, pages: list[FileObject]) -> None:
    session.execute(sa.update(Document), [{"id": 1, "pages": pages}])
    session.commit()


WAYS = [_by_attribute, _unloaded, _in_place, _by_merge, _by_update, _by_key]


@pytest.mark.matrix(cases=6)
@pytest.mark.parametrize("way", WAYS)
def test_row_keeps_moves_replaces_and_adds(
    db: Database, backend: StorageBackend, way: Callable[[Session, list[FileObject]], None]
) -> None:
    """Ids resolve to the row's own files, however the list gets into it."""

    def work(session: Session) -> tuple[list[str], list[str | None]]:
        one, two, three = insert(session)
        session.expunge_all()
        new = sent_file({"id": one, "file": a_file(b"new 1")})
        way(session, [sent_file(three), a_file(b"4"), new])
        session.expunge_all()
        return [three, one, two], [page.id for page in session.get_one(Document, 1).pages or ()]

    (three, one, two), (first, second, third) = db.run(work)
    assert read_pages(db, backend) == [b"3", b"4", b"new 1"]
    assert (first, third) == (three, one)
    assert second not in {one, two, three}


@pytest.mark.matrix(cases=6)
@pytest.mark.parametrize("way", WAYS)
def test_id_of_another_row_is_refused(
    db: Database, backend: StorageBackend, way: Callable[[Session, list[FileObject]], None]
) -> None:
    """Both rows keep their files, and what was new is gone."""

    def work(session: Session) -> None:
        insert(session)
        pages = session.get_one(Document, 2).pages
        assert pages is not None
        foreign = str(pages[0].id)
        session.expunge_all()
        with pytest.raises(FileRejectedError, match="No file here has the id"):
            way(session, [a_file(b"4"), sent_file(foreign)])

    db.run(work)
    assert read_pages(db, backend) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("way", ["add", "insert", "nowhere"])
def test_new_row_has_nothing_to_keep(db: Database, way: str) -> None:
    """An id in a new row's list is refused, and so is one for no row at all."""

    def work(session: Session) -> None:
        kept = sent_file(insert(session)[0])
        if way == "add":
            session.add(Document(id=3, pages=[kept]))
        statements: dict[str, Callable[[], object]] = {
            "add": session.commit,
            "insert": lambda: session.execute(sa.insert(Document).values(id=3, pages=[kept])),
            "nowhere": lambda: session.execute(sa.update(Document).where(Document.id == 4).values(pages=[kept])),
        }
        with pytest.raises(FileRejectedError):
            statements[way]()

    db.run(work)


def test_second_of_two_sessions_conflicts(db: Database, backend: StorageBackend) -> None:
    """A list that was resolved against what another session has changed since is refused; nothing is lost."""

    def work(session: Session) -> None:
        one, *_ = insert(session)
        document = session.get_one(Document, 1)
        document.pages = FileObjectList([sent_file(one), a_file(b"late")])
        with Session(session.get_bind()) as other:
            stored = other.get_one(Document, 1)
            assert stored.pages is not None
            stored.pages.append(a_file(b"4"))
            other.commit()
        with pytest.raises(ConflictError):
            session.commit()

    db.run(work)
    assert read_pages(db, backend) == [b"1", b"2", b"3", b"4"]
