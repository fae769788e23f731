"""Rules of columns hold for content that the session stores itself; `db` sees that nothing refused stays."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    ContentTypes,
    Extensions,
    FileObject,
    FileObjectList,
    ImageSize,
    MaxFiles,
    MaxSize,
    MinSize,
    StorageBackend,
    StoredObject,
)
from litestar_filestore.core.rule import Answer, Candidate
from litestar_filestore.errors import (
    FileRejectedError,
    FileTooLargeError,
    FileTypeNotAllowedError,
    UnsupportedOperationError,
)
from litestar_filestore.testing import FaultyDriver
from tests.orm.databases import AsyncDatabase, Database
from tests.orm.models import BACKEND
from tests.validation.samples.documents import OPEN_XML, content_types, open_xml
from tests.validation.samples.images import jpeg

PDF = b"%PDF-1.7\n"
LIMIT = 200_000  # more than a look at the beginning sees
DOCX = OPEN_XML + "wordprocessingml.document"
LETTER = open_xml(content_types(f"{DOCX}.main+xml"), before=bytes(150_000), after=bytes(350_000))
NO_LETTER = open_xml(content_types("application/vnd.ms-word.document.macroEnabled.main+xml"), before=bytes(500_000))


def no_drafts(file: Candidate) -> Answer:
    """Refuse by name."""
    return "No drafts, please" if "draft" in file.filename else None


async def no_viruses(file: Candidate) -> Answer:
    """Refuse by content, after waiting for nothing."""
    return "There is a virus in it" if b"virus" in file.head else None


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "paper"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[FileObject | None] = mapped_column(
        StoredObject(BACKEND, rules=[MaxSize(LIMIT), MinSize(3), ContentTypes("application/pdf", "text/*"), no_drafts])
    )
    sized: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND, rules=[MaxSize(LIMIT), MinSize(3)]))
    pages: Mapped[FileObjectList | None] = mapped_column(
        StoredObject(BACKEND, multiple=True, rules=[MaxFiles(2), Extensions(".txt")])
    )
    scanned: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND, rules=[no_viruses]))
    letter: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND, rules=[ContentTypes(DOCX)]))
    photo: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND, rules=[ImageSize(max_width=3)]))


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """Models with rules."""
    return Base


def file(content: Any = PDF, filename: str = "a.pdf", **more: Any) -> FileObject:
    """Make a file that is still to be stored."""
    return FileObject(BACKEND, filename, content=content, **more)


def refused(db: Database, **values: Any) -> Any:
    """Return the error that a row with these values is refused with, after making sure that it is not there."""

    def work(session: Session) -> Any:
        session.add(Paper(id=1, **values))
        with pytest.raises((FileRejectedError, FileTooLargeError)) as caught:
            session.commit()
        session.rollback()
        assert session.get(Paper, 1) is None
        return caught.value

    return db.run(work)


def stored(db: Database, **values: Any) -> Paper:
    """Commit a row with these values and return it as it is read again."""

    def work(session: Session) -> Paper:
        session.add(Paper(id=1, **values))
        session.commit()
        session.expire_all()
        paper = session.get_one(Paper, 1)
        session.expunge(paper)
        return paper

    return db.run(work)


@pytest.mark.parametrize(
    ("content", "filename", "class_"),
    [
        (b"x" * (LIMIT + 1), "a.txt", FileTooLargeError),
        (b"x", "a.txt", FileRejectedError),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a.png", FileTypeNotAllowedError),
        (b"<script>", "a.txt", FileTypeNotAllowedError),
        (PDF, "draft.pdf", FileRejectedError),
    ],
    ids=["long", "short", "type", "belied", "function"],
)
def test_refused(db: Database, content: bytes, filename: str, class_: type[Exception]) -> None:
    """What a rule refuses fails the flush, and the error names the column."""
    error = refused(db, text=file(content, filename))
    assert (type(error), error.field, error.backend) == (class_, "text", BACKEND)


def test_accepted(db: Database, backend: StorageBackend) -> None:
    """What the rules accept is stored under the extension and the type that its content has."""
    paper = stored(db, text=file(PDF, "A.PDF", content_type="text/plain"))
    assert paper.text is not None
    assert (paper.text.content_type, paper.text.path[-4:]) == ("application/pdf", ".pdf")
    assert backend.get_content(paper.text.path) == PDF


def test_type_is_the_application_s_where_no_rule_asks_for_it(db: Database) -> None:
    """A column that limits sizes only leaves the type as the application said."""
    paper = stored(db, sized=file(b"words", "a.txt", content_type="application/x-own"))
    assert paper.sized is not None
    assert paper.sized.content_type == "application/x-own"


def blocks(content: bytes) -> Iterator[bytes]:
    """Yield content that can be read once."""
    for start in range(0, len(content), 7_000):
        yield content[start : start + 7_000]


async def blocks_async(content: bytes) -> AsyncIterator[bytes]:
    """Yield content that can be read once and asynchronously."""
    for block in blocks(content):
        yield block


def opened(content: bytes, folder: Path) -> io.BufferedIOBase:
    """Return an open file that stands behind a byte which is not meant."""
    stream = io.BytesIO(b"#" + content)
    stream.read(1)
    return stream


def written(content: bytes, folder: Path) -> Path:
    """Return a file on the disk."""
    path = folder / "source"
    path.write_bytes(content)
    return path


SOURCES: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda content, _: content,
    "view": lambda content, _: memoryview(content),
    "path": written,
    "list": lambda content, _: list(blocks(content)),
    "iterator": lambda content, _: blocks(content),
    "open": opened,
}


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [3, LIMIT])
def test_every_source_is_stored_whole(
    db: Database, backend: StorageBackend, source: str, size: int, tmp_path: Path
) -> None:
    """Looking at the beginning takes nothing away from the content, wherever it comes from."""
    content = (b"0123456789" * LIMIT)[:size]
    paper = stored(db, sized=file(SOURCES[source](content, tmp_path), "a.txt"))
    assert paper.sized is not None
    assert backend.get_content(paper.sized.path) == content


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("size", "class_"), [(2, FileRejectedError), (LIMIT + 1, FileTooLargeError)])
def test_every_source_is_measured(
    db: Database, source: str, size: int, class_: type[Exception], tmp_path: Path
) -> None:
    """Sizes are limited wherever the content comes from, also where the size is not known before its end."""
    error = refused(db, sized=file(SOURCES[source](b"x" * size, tmp_path), "a.txt"))
    assert (type(error), error.field) == (class_, "sized")


@pytest.mark.parametrize("db", ["aiosqlite", "asyncpg"], indirect=True)
@pytest.mark.parametrize(("size", "class_"), [(2, FileRejectedError), (LIMIT + 1, FileTooLargeError), (LIMIT, None)])
def test_async_source_is_measured(
    db: Database, backend: StorageBackend, size: int, class_: type[Exception] | None
) -> None:
    """Content that comes asynchronously is checked like any other."""
    content = file(blocks_async(b"x" * size), "a.txt")
    if class_ is not None:
        assert type(refused(db, sized=content)) is class_
        return
    paper = stored(db, sized=content)
    assert paper.sized is not None
    assert backend.get_content(paper.sized.path) == b"x" * size


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_read_to_where_its_type_stands(
    db: Database, backend: StorageBackend, source: str, tmp_path: Path
) -> None:
    """The directory of an archive stands at its end, and the content is stored whole all the same."""
    error = refused(db, letter=file(SOURCES[source](NO_LETTER, tmp_path), "a.docx"))
    assert (type(error), error.field) == (FileTypeNotAllowedError, "letter")
    paper = stored(db, letter=file(SOURCES[source](LETTER, tmp_path), "a.docx"))
    assert paper.letter is not None
    assert paper.letter.content_type == DOCX
    assert backend.get_content(paper.letter.path) == LETTER


@pytest.mark.parametrize("db", ["aiosqlite"], indirect=True)
def test_async_source_is_read_to_where_its_type_stands(db: Database) -> None:
    """So is content that comes asynchronously."""
    assert type(refused(db, letter=file(blocks_async(NO_LETTER), "a.docx"))) is FileTypeNotAllowedError
    paper = stored(db, letter=file(blocks_async(LETTER), "a.docx"))
    assert paper.letter is not None
    assert paper.letter.content_type == DOCX


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_read_to_where_its_dimensions_stand(db: Database, source: str, tmp_path: Path) -> None:
    """The dimensions of an image may stand behind half a megabyte of metadata."""
    wide = jpeg(4, metadata_bytes=557_000)
    error = refused(db, photo=file(SOURCES[source](wide, tmp_path), "a.jpg"))
    assert error.detail == "At most 3 pixels of width are allowed, the image has 4 x 2 pixels"
    assert stored(db, photo=file(SOURCES[source](jpeg(metadata_bytes=557_000), tmp_path), "a.jpg")).photo is not None


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
def test_stored_file_is_read_to_where_its_type_stands(db: Database) -> None:
    """A file that was stored by hand is looked at in the store, at its end too."""
    letter, other = file(LETTER, "a.docx").save(), file(NO_LETTER, "a.docx").save()
    assert type(refused(db, letter=other)) is FileTypeNotAllowedError
    other.delete()
    wide = file(jpeg(4, metadata_bytes=557_000), "a.jpg").save()
    assert "4 x 2" in refused(db, photo=wide).detail
    wide.delete()
    assert stored(db, letter=letter).letter == letter


def test_number_of_files(db: Database) -> None:
    """A list that grows beyond its limit is refused, whether its files are new or not."""
    assert refused(db, pages=[file(b"one", "1.txt"), file(b"two", "2.txt"), file(b"three", "3.txt")]).detail == (
        "At most 2 files are allowed, not 3"
    )

    def work(session: Session) -> None:
        paper = Paper(id=1, pages=[file(b"one", "1.txt"), file(b"two", "2.txt")])
        session.add(paper)
        session.commit()
        assert paper.pages is not None
        paper.pages.append(file(b"three", "3.txt"))
        with pytest.raises(FileRejectedError):
            session.commit()
        session.rollback()

    db.run(work)


def test_each_file_of_a_list_is_checked(db: Database) -> None:
    """One bad file among good ones fails the flush, and what was stored before it goes."""
    assert refused(db, pages=[file(b"one", "1.txt"), file(PDF, "2.pdf")]).field == "pages"


def test_bulk_statements(db: Database) -> None:
    """Statements that insert or update many rows obey the rules too."""

    def work(session: Session) -> None:
        with pytest.raises(FileTypeNotAllowedError):
            session.execute(sa.insert(Paper), [{"id": 1, "text": file(b"<script>", "a.txt")}])
        session.rollback()
        session.execute(sa.insert(Paper), [{"id": 1, "text": file()}])
        session.commit()
        with pytest.raises(FileRejectedError):
            session.execute(sa.update(Paper).where(Paper.id == 1).values(text=file(PDF, "draft.pdf")))
        session.rollback()

    db.run(work)


def test_asynchronous_rule(db: Database) -> None:
    """An asynchronous rule holds in an ``AsyncSession``; in a plain one it is an error, and nothing is stored."""
    if isinstance(db, AsyncDatabase):
        assert refused(db, scanned=file(b"a virus", "a.txt")).detail == "There is a virus in it"
        assert stored(db, scanned=file(b"healthy", "a.txt")).scanned is not None
        return

    def work(session: Session) -> None:
        session.add(Paper(id=1, scanned=file(b"healthy", "a.txt")))
        with pytest.raises(UnsupportedOperationError, match="no_viruses"):
            session.commit()
        session.rollback()

    db.run(work)


def test_refused_file_can_be_mended(db: Database) -> None:
    """After a refusal another file can be assigned, and the transaction goes on."""

    def work(session: Session) -> None:
        paper = Paper(id=1, text=file(b"x", "a.txt"))
        session.add(paper)
        with pytest.raises(FileRejectedError):
            session.flush()
        paper.text = file()
        session.commit()

    db.run(work)


def test_file_that_was_stored_by_hand(db: Database) -> None:
    """A column refuses a file that came past no rule, for what it is and not for what it is called."""
    saved = [file(b"x", "a.txt").save(), file(b"<script>", "a.txt", content_type="text/plain").save()]
    assert [refused(db, text=each).detail for each in saved] == [
        "The file is smaller than the 3 bytes that are needed",
        "The name of the file does not fit its content, which is of type text/html: rename the file",
    ]
    for each in saved:
        each.delete()


def test_file_that_was_stored_by_hand_in_a_bulk_statement(db: Database) -> None:
    """So does a statement that inserts many rows."""
    saved = file(PDF, "draft.pdf").save()

    def work(session: Session) -> None:
        with pytest.raises(FileRejectedError, match="No drafts"):
            session.execute(sa.insert(Paper), [{"id": 1, "text": saved}])

    db.run(work)
    saved.delete()


def test_stored_file_that_the_rules_accept(db: Database) -> None:
    """A good file goes into a row, whoever stored it."""
    saved = file(PDF, "a.pdf").save()
    assert stored(db, text=saved).text == saved


def test_rules_that_have_accepted_a_file_are_not_asked_again(db: Database, driver: FaultyDriver) -> None:
    """What was checked as it was stored, or by a nearer rule of the same class, costs no look at the store."""
    saved = file(b"x" * (LIMIT + 1), "a.txt").save()
    saved.passed_rules = (MaxSize(LIMIT * 2), MinSize(1))
    stored(db, sized=saved, text=file())
    assert [call for call in driver.calls if call.operation == "get"] == []


def test_new_content_is_checked_again(db: Database) -> None:
    """Rules that have accepted a file say nothing about what it is saved with later."""
    saved = file(b"good", "a.txt").save()
    saved.passed_rules = (MaxSize(LIMIT), MinSize(3))
    saved.delete()
    saved.save(b"x")
    assert refused(db, sized=saved).detail == "The file is smaller than the 3 bytes that are needed"
    saved.delete()


def test_files_of_rows_are_left_as_they_are(db: Database) -> None:
    """A row from before a rule can still be written, as long as its file stays the same."""
    before = file(b"x", "draft.txt").save()

    def work(session: Session) -> None:
        session.execute(sa.insert(cast("sa.Table", Paper.__table__)), [{"id": 1, "text": before}])
        session.get_one(Paper, 1).sized = file()
        session.commit()

    db.run(work)


def test_statements_with_rules_are_cached() -> None:
    """Rules do not keep SQLAlchemy from caching statements, even if they cannot be hashed."""

    @dataclass
    class Unhashable:
        def __call__(self, file: Candidate) -> Answer: ...

    column = sa.column("file", StoredObject(BACKEND, rules=[Unhashable()]))
    assert sa.select(column)._generate_cache_key() is not None  # noqa: SLF001
