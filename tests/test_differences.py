"""Where the behaviour differs from Advanced Alchemy on purpose: one test, or a few, for each difference.

Tests named ``..._there`` show what Advanced Alchemy itself does, so that a difference that goes away is noticed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from advanced_alchemy.base import DefaultBase
from advanced_alchemy.config import SQLAlchemySyncConfig
from advanced_alchemy.types import FileObject as TheirFile, StoredObject as TheirStoredObject
from advanced_alchemy.types.file_object import storages as their_storages
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as TheirBackend
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    FileObject,
    FileObjectList,
    LocalBackend,
    MemoryBackend,
    StorageBackend,
    StoredObject,
    storages,
)
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver

KEY = "differences"


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(KEY))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(KEY, multiple=True))


class TheirDocument(DefaultBase):
    __tablename__ = "differences_there"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[TheirFile | None] = mapped_column(TheirStoredObject(KEY))
    pages: Mapped[list[TheirFile] | None] = mapped_column(TheirStoredObject(KEY, multiple=True))


@pytest.fixture
def driver() -> FaultyDriver:
    """A store in memory that can fail."""
    return FaultyDriver(MemoryBackend(KEY).storage_driver)


@pytest.fixture
def backend(driver: FaultyDriver) -> Iterator[StorageBackend]:
    """That store, registered in this package."""
    backend = StorageBackend(KEY, driver=driver)
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(KEY)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A database with both tables."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/differences.db")
    Base.metadata.create_all(engine)
    TheirDocument.metadata.tables["differences_there"].create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: sa.Engine, backend: StorageBackend) -> Iterator[Session]:
    """A session."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def there(engine: sa.Engine) -> Iterator[Session]:
    """A session as Advanced Alchemy makes it, with a store of its own in memory."""
    their_storages.register_backend(TheirBackend(key=KEY, fs="memory://"))
    with SQLAlchemySyncConfig(engine_instance=engine).get_session() as session:
        yield session
    their_storages.unregister_backend(KEY)


def a_file(content: bytes = b"content", filename: str = "report.txt") -> FileObject:
    """Make a new file of this package."""
    return FileObject(KEY, filename, content=content)


def their_file(content: bytes = b"content", filename: str = "report.txt") -> TheirFile:
    """Make a new file of Advanced Alchemy."""
    return TheirFile(KEY, filename, content=content)


# -- when bytes are written


def test_when_bytes_are_written(session: Session, backend: StorageBackend) -> None:
    """Before the row: they are there as soon as the flush is."""
    session.add(document := Document(file=a_file()))
    session.flush()
    assert document.file is not None
    assert document.file.get_content() == b"content"


def test_when_bytes_are_written_a_failure_fails_the_transaction(session: Session, driver: FaultyDriver) -> None:
    """No row without bytes."""
    driver.plan.append(Fault("put", BackendUnavailableError("The store is down")))
    session.add(Document(file=a_file()))
    with pytest.raises(BackendUnavailableError):
        session.commit()
    session.rollback()
    assert session.scalar(sa.select(sa.func.count()).select_from(Document)) == 0


def test_when_bytes_are_written_there(there: Session) -> None:
    """After the commit: a flush has written none."""
    there.add(document := TheirDocument(file=their_file()))
    there.flush()
    assert document.file is not None
    with pytest.raises(FileNotFoundError):
        document.file.get_content()
    there.commit()
    assert document.file is not None
    assert document.file.get_content() == b"content"


# -- key of new content


def test_key_of_new_content(session: Session) -> None:
    """Made by the server and unique: files of one name are two objects, and the name is for people."""
    first, second = Document(file=a_file(b"first")), Document(file=a_file(b"second"))
    session.add_all([first, second])
    session.commit()
    assert first.file is not None
    assert second.file is not None
    assert first.file.path != second.file.path
    assert first.file.filename == second.file.filename == "report.txt"
    assert (first.file.get_content(), second.file.get_content()) == (b"first", b"second")


def test_key_of_new_content_pinned_refuses_to_overwrite(backend: StorageBackend) -> None:
    """`to_filename` decides the key, once."""
    FileObject(KEY, "report.txt", to_filename="pinned.txt", content=b"first").save()
    with pytest.raises(FileExistsError):
        FileObject(KEY, "report.txt", to_filename="pinned.txt", content=b"second").save()
    assert backend.get_content("pinned.txt") == b"first"


def test_key_of_new_content_there(there: Session) -> None:
    """The client's name: the second file overwrites the first."""
    first = TheirDocument(file=their_file(b"first"))
    there.add(first)
    there.commit()
    there.add(TheirDocument(file=their_file(b"second")))
    there.commit()
    assert first.file is not None
    assert first.file.get_content() == b"second"


# -- same key, other content


def test_same_key_other_content(session: Session) -> None:
    """A file is equal to others of its backend and key only, and new content always has a new key."""
    session.add(document := Document(file=a_file(b"old")))
    session.commit()
    assert document.file is not None
    old, new = document.file, a_file(b"new")
    assert old == FileObject(KEY, "any name", to_filename=old.path)
    assert new != old
    assert new != a_file(b"new")
    document.file = new
    session.commit()
    assert new.path != old.path
    assert new.get_content() == b"new"


def test_same_key_other_content_there(there: Session) -> None:
    """Equal objects: the new content is dropped."""
    there.add(document := TheirDocument(file=their_file(b"old")))
    there.commit()
    new = their_file(b"new")
    assert document.file == new
    document.file = new
    there.commit()
    assert their_storages.get_backend(KEY).get_content("report.txt") == b"old"


# -- multiple=True


def test_multiple_true(session: Session) -> None:
    """A tracked list: what is appended is written."""
    session.add(document := Document(pages=[a_file(b"1")]))
    session.commit()
    assert document.pages is not None
    document.pages.append(a_file(b"2"))
    session.commit()
    assert [page.get_content() for page in document.pages] == [b"1", b"2"]


def test_multiple_true_there(there: Session) -> None:
    """In-place edits are lost."""
    there.add(document := TheirDocument(pages=[their_file(b"1", "1.txt")]))
    there.commit()
    assert document.pages is not None
    document.pages.append(their_file(b"2", "2.txt"))
    there.commit()
    there.refresh(document)
    assert len(document.pages) == 1


# -- size, etag, checksum, last_modified


def test_size_etag_checksum_last_modified(session: Session) -> None:
    """Complete in the row."""
    session.add(Document(file=a_file()))
    session.commit()
    file = session.scalars(sa.select(Document)).one().file
    assert file is not None
    assert file.size == 7
    assert file.checksum == "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert file.etag == '"ed7002b439e9ac845f22357d822bac14"'
    assert file.last_modified is not None


def test_size_etag_checksum_last_modified_there(there: Session) -> None:
    """NULL in the row."""
    there.add(document := TheirDocument(file=their_file()))
    there.commit()
    there.refresh(document)
    assert document.file is not None
    file = document.file
    assert (file.size, file.etag, file.checksum, file.last_modified) == (None, None, None, None)


# -- empty content


def test_empty_content(session: Session) -> None:
    """A zero-byte file."""
    file = a_file(b"")
    assert file.has_pending_data
    session.add(Document(file=file))
    session.commit()
    assert (file.size, file.get_content()) == (0, b"")


def test_empty_content_there() -> None:
    """Said to be nothing to save."""
    assert not their_file(b"").has_pending_data


# -- local and memory


@pytest.fixture(params=["local", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, engine: sa.Engine) -> Iterator[Session]:
    """A session over a store that keeps nothing but bytes, or that dies with the process."""
    backend = LocalBackend(KEY, tmp_path / "store") if request.param == "local" else MemoryBackend(KEY)
    storages.register_backend(backend)
    with Session(engine) as session:
        yield session
    storages.unregister_backend(KEY)
    backend.close()


def test_local_and_memory(kept: Session) -> None:
    """Content type and metadata come from the row."""
    file = FileObject(KEY, "report", content_type="application/pdf", metadata={"pages": 3}, content=b"%PDF")
    kept.add(Document(id=1, file=file))
    kept.commit()
    kept.expunge_all()
    loaded = kept.get_one(Document, 1).file
    assert loaded is not None
    assert (loaded.content_type, loaded.metadata) == ("application/pdf", {"pages": 3})
