"""Files that listeners of a class set while the flush is running, and what listeners are told of old files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, Session, mapped_column
from sqlalchemy.orm.attributes import get_history

from litestar_filestore import FileObject, FileObjectList, StoredObject
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver
from tests.orm.models import BACKEND, a_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.orm.databases import Database


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    thumb: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True))


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The models of this module."""
    return Base


@contextmanager
def listening(name: str, listener: Callable[[Photo], None], target: Any = Photo, **options: Any) -> Generator[None]:
    """Call `listener` with the row at an event of the mapper."""

    def adapted(_mapper: Any, _connection: Any, row: Any) -> None:
        if isinstance(row, Photo):
            listener(row)

    event.listen(target, name, adapted, **options)
    try:
        yield
    finally:
        event.remove(target, name, adapted)


def make_thumb(photo: Photo) -> None:
    """Make the small picture that belongs to the large one."""
    assert photo.file is not None
    photo.thumb = a_file(b"small " + photo.file.get_content(), "thumb.txt")


def add(session: Session) -> None:
    """Add a photo."""
    session.add(Photo(id=1, file=a_file(b"large")))
    session.commit()


def thumb(db: Database) -> bytes | None:
    """Return what the small picture holds."""

    def read(session: Session) -> bytes | None:
        found = session.get_one(Photo, 1).thumb
        return found.get_content() if found is not None else None

    return db.run(read)


@pytest.mark.parametrize(
    ("target", "options"),
    [(Photo, {}), (Base, {"propagate": True}), (Mapper, {})],
    ids=["class", "base", "every class"],
)
def test_before_insert(db: Database, target: Any, options: dict[str, Any]) -> None:
    """A file that a listener makes of the row's other file is stored with the row."""
    with listening("before_insert", make_thumb, target, **options):
        db.run(add)
    assert thumb(db) == b"small large"


def test_before_update(db: Database) -> None:
    """The same for a row that changes, and what the listener replaces is deleted."""

    def replace(session: Session) -> None:
        session.get_one(Photo, 1).file = a_file(b"larger")
        session.commit()
        session.get_one(Photo, 1).file = a_file(b"largest")
        session.commit()

    with listening("before_insert", make_thumb), listening("before_update", make_thumb):
        db.run(add)
        db.run(replace)
    assert thumb(db) == b"small largest"


def test_listener_that_comes_late(db: Database) -> None:
    """A listener that is added after the first flush is followed too, and one more after that."""
    with listening("before_insert", make_thumb):
        db.run(add)

        def second(session: Session) -> None:
            session.add(Photo(id=2, file=a_file(b"second")))
            session.commit()
            found = session.get_one(Photo, 2).pages
            assert found is not None
            assert [page.get_content() for page in found] == [b"page"]

        def add_page(photo: Photo) -> None:
            photo.pages = [a_file(b"page")]  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # lists are coerced

        with listening("before_insert", add_page):
            db.run(second)


def test_list_that_a_listener_changes(db: Database) -> None:
    """A list may be appended to in place."""

    def append(photo: Photo) -> None:
        assert photo.pages is not None
        photo.pages.append(a_file(b"appended"))

    def change(session: Session) -> None:
        session.get_one(Photo, 1).pages = [a_file(b"first")]  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # lists are coerced
        session.commit()
        with listening("before_update", append):
            session.get_one(Photo, 1).name = "changed"
            session.commit()
        found = session.get_one(Photo, 1).pages
        assert found is not None
        assert [page.get_content() for page in found] == [b"first", b"appended"]

    db.run(add)
    db.run(change)


def test_rollback(db: Database) -> None:
    """What a listener made goes with its row."""

    def roll_back(session: Session) -> None:
        session.add(Photo(id=1, file=a_file(b"large")))
        session.flush()
        session.rollback()

    with listening("before_insert", make_thumb):
        db.run(roll_back)


def test_store_that_fails(db: Database, driver: FaultyDriver) -> None:
    """A listener's file that cannot be stored fails the flush with the store's error, before the row is written."""

    def work(session: Session) -> None:
        with pytest.raises(BackendUnavailableError):
            add(session)
        session.rollback()
        assert session.get(Photo, 1) is None

    driver.plan.append(Fault("put", BackendUnavailableError("down"), call=2))
    with listening("before_insert", make_thumb):
        db.run(work)


# -- history


def history_of(db: Database, change: Callable[[Photo], None], key: str = "file") -> tuple[list[Any], list[Any]]:
    """Return what ``get_history()`` shows before the flush and in ``before_update``: the old values."""
    seen: list[list[Any]] = []

    def look(photo: Photo) -> None:
        seen.append(list(get_history(photo, key).deleted or ()))

    def work(session: Session) -> None:
        session.add(Photo(id=1, file=a_file(b"old"), pages=[a_file(b"page"), a_file(b"side")]))
        session.commit()
        photo = session.get_one(Photo, 1)
        assert photo.file is not None
        assert photo.pages is not None
        change(photo)
        look(photo)
        with listening("before_update", look):
            session.commit()

    db.run(work)
    first, second = seen
    return first, second


@pytest.mark.parametrize("db", ["sqlite", "asyncpg"], indirect=True)
class TestHistory:
    """The old value of a file column, as of any other column."""

    def test_replaced_file(self, db: Database) -> None:
        """New content in place of a loaded file."""
        old: list[FileObject | None] = []

        def replace(photo: Photo) -> None:
            old.append(photo.file)
            photo.file = a_file(b"new")

        assert history_of(db, replace) == (old, old)

    def test_cleared_file(self, db: Database) -> None:
        """No file in place of a loaded one."""
        old: list[FileObject | None] = []

        def clear(photo: Photo) -> None:
            old.append(photo.file)
            photo.file = None

        assert history_of(db, clear) == (old, old)

    def test_file_that_changed_in_place(self, db: Database) -> None:
        """The old metadata are those before the first change."""

        def describe(photo: Photo) -> None:
            assert photo.file is not None
            photo.file.update_metadata({"a": 1})
            photo.file.update_metadata({"b": 2})

        before, during = history_of(db, describe)
        assert [file.metadata for file in before] == [file.metadata for file in during] == [{}]

    def test_list_that_changed_in_place(self, db: Database) -> None:
        """The old list is that before the first change, the metadata of its files included."""

        def change(photo: Photo) -> None:
            assert photo.pages is not None
            photo.pages.append(a_file(b"more"))
            photo.pages[0].update_metadata({"a": 1})
            del photo.pages[1]

        before, during = history_of(db, change, "pages")
        assert [len(pages) for pages in before] == [len(pages) for pages in during] == [2]
        assert [page.metadata for page in before[0]] == [{}, {}]

    def test_metadata_after_a_list_is_as_before(self, db: Database) -> None:
        """A change of a page is written although the list itself is what it was."""

        def change(photo: Photo) -> None:
            assert photo.pages is not None
            photo.pages.append(a_file(b"more"))
            del photo.pages[-1]
            photo.pages[0].update_metadata({"a": 1})

        history_of(db, change, "pages")

        def read(session: Session) -> Any:
            found = session.get_one(Photo, 1).pages
            assert found is not None
            return found[0].metadata

        assert db.run(read) == {"a": 1}

    def test_nothing_changed(self, db: Database) -> None:
        """Metadata that are as they were are no change."""

        def change(photo: Photo) -> None:
            assert photo.file is not None
            photo.name = "changed"
            photo.file.update_metadata({"a": 1})
            photo.file.metadata = {}

        assert history_of(db, change) == ([], [])
