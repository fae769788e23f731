"""Lists of files are written however they are changed; `db` compares store and rows after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

from litestar_filestore import FileObjectList, StorageBackend
from tests.orm.databases import Database
from tests.orm.models import Document, a_file
from tests.tracking.documents import read_pages

if TYPE_CHECKING:
    from collections.abc import Callable


def _set_slice(pages: FileObjectList) -> None:
    pages[1:] = [a_file(b"x"), a_file(b"y")]


def _delete_slice(pages: FileObjectList) -> None:
    del pages[:2]


def _set_item(pages: FileObjectList) -> None:
    pages[0] = a_file(b"x")


def _add_in_place(pages: FileObjectList) -> None:
    pages.__iadd__([a_file(b"x")])  # type checkers miss that it returns the list itself


def _save_item(pages: FileObjectList) -> None:
    pages[2].save(b"x")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(lambda pages: pages.append(a_file(b"x")), [b"2", b"3", b"1", b"x"], id="append"),
        pytest.param(
            lambda pages: pages.extend([a_file(b"x"), a_file(b"y")]), [b"2", b"3", b"1", b"x", b"y"], id="extend"
        ),
        pytest.param(lambda pages: pages.insert(0, a_file(b"x")), [b"x", b"2", b"3", b"1"], id="insert"),
        pytest.param(lambda pages: pages.remove(pages[0]), [b"3", b"1"], id="remove"),
        pytest.param(lambda pages: pages.pop(), [b"2", b"3"], id="pop"),
        pytest.param(lambda pages: pages.sort(key=lambda page: page.filename), [b"1", b"2", b"3"], id="sort"),
        pytest.param(lambda pages: pages.reverse(), [b"1", b"3", b"2"], id="reverse"),
        pytest.param(lambda pages: pages.clear(), [], id="clear"),
        pytest.param(_set_slice, [b"2", b"x", b"y"], id="set slice"),
        pytest.param(_delete_slice, [b"1"], id="delete slice"),
        pytest.param(_set_item, [b"x", b"3", b"1"], id="set item"),
        pytest.param(_add_in_place, [b"2", b"3", b"1", b"x"], id="+="),
        pytest.param(_save_item, [b"2", b"3", b"x"], id="save an item"),
    ],
)
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "just written"])
def test_list_edited_in_place_is_written(
    db: Database,
    backend: StorageBackend,
    edit: Callable[[FileObjectList], None],
    expected: list[bytes],
    loaded: bool,  # noqa: FBT001
) -> None:
    """Every way to change a list reaches the row and the store, for a list just written as for a loaded one."""

    def work(session: Session) -> None:
        pages = [a_file(content, name) for content, name in ((b"2", "2.txt"), (b"3", "3.txt"), (b"1", "1.txt"))]
        session.add(document := Document(id=1, pages=pages))
        session.commit()
        if loaded:
            session.expunge_all()
            document = session.get_one(Document, 1)
        assert document.pages is not None
        edit(document.pages)
        session.commit()

    db.run(work)
    assert read_pages(db, backend) == expected


def test_list_replaced_keeps_the_files_that_stay(db: Database, backend: StorageBackend) -> None:
    """Only what left the list is deleted."""

    def work(session: Session) -> None:
        session.add(document := Document(id=1, pages=[a_file(b"1"), a_file(b"2")]))
        session.commit()
        assert document.pages is not None
        document.pages = FileObjectList([a_file(b"new"), document.pages[0]])
        session.commit()

    db.run(work)
    assert read_pages(db, backend) == [b"new", b"1"]


def test_deleting_a_row_deletes_all_of_its_files(db: Database) -> None:
    """All columns and all items of lists count."""

    def work(session: Session) -> None:
        session.add(document := Document(id=1, file=a_file(), pages=[a_file(), a_file()]))
        session.commit()
        session.delete(document)
        session.commit()

    db.run(work)


def test_list_edit_is_undone_by_a_rollback(db: Database, backend: StorageBackend) -> None:
    """The row, its objects and the attribute are what they were."""

    def work(session: Session) -> int:
        session.add(document := Document(id=1, pages=[a_file(b"1")]))
        session.commit()
        assert document.pages is not None
        document.pages.append(a_file(b"2"))
        document.pages.pop(0)
        session.flush()
        session.rollback()
        return len(document.pages)

    assert db.run(work) == 1
    assert read_pages(db, backend) == [b"1"]
