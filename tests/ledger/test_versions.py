"""Versions of rows: what SQLAlchemy's recipe can do, and what SQLAlchemy-Continuum is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import sqlalchemy_continuum
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column
from sqlalchemy.orm.attributes import get_history

from litestar_filestore import FileObject, LocalBackend, StoredObject, storages
from litestar_filestore.errors import ConflictError
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import ledger_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKEND = "versions"


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "page"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(100))
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


class PageHistory(Base):
    __tablename__ = "page_history"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int]
    title: Mapped[str] = mapped_column(sa.String(100))
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


def file(content: bytes) -> FileObject:
    """Make a file that is still to be stored."""
    return FileObject(BACKEND, "a.txt", content=content)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A store."""
    backend = LocalBackend(BACKEND, tmp_path / "store", fsync=False)
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(BACKEND)


@pytest.fixture
def engine(url: str, backend: LocalBackend) -> Iterator[sa.Engine]:
    """A database of each kind, with the tables of the recipe."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    table = ledger_of(Base.metadata)
    assert table is not None
    with engine.begin() as connection:
        connection.execute(table.update().values(not_before=0))
    sweep(engine, table, storages)
    with Session(engine) as session:
        kept = [*session.scalars(sa.select(Page.file)), *session.scalars(sa.select(PageHistory.file))]
    assert sorted(each.path for each in kept) == sorted(info.key for info in backend.list())
    Base.metadata.drop_all(engine)
    engine.dispose()


def keep_history(session: Session, _context: object, _instances: object, *, copy: bool) -> None:
    """Write the old values of changed rows to their history, as SQLAlchemy's recipe ``history_meta`` does."""
    for row in session.dirty:
        if isinstance(row, Page):
            old: dict[str, Any] = {}
            for name in ("id", "title", "file"):
                history: Any = get_history(row, name)
                (old[name],) = history.deleted or history.unchanged or history.added
                if copy and name == "file" and not history.deleted:
                    old[name] = old[name].copy()
            session.add(PageHistory(**old))


@pytest.fixture(params=[False, True], ids=["plain", "copying"])
def copy(request: pytest.FixtureRequest) -> bool:
    """Whether the recipe copies files that stay in their row."""
    return bool(request.param)


@pytest.fixture
def session(engine: sa.Engine, copy: bool) -> Iterator[Session]:  # noqa: FBT001
    """A session that keeps history, and a page in it."""
    with Session(engine) as session:
        session.add(Page(id=1, title="one", file=file(b"old")))
        session.commit()

        def listener(*arguments: Any) -> None:
            keep_history(*arguments, copy=copy)

        event.listen(session, "before_flush", listener)
        yield session


def test_replaced_file(session: Session) -> None:
    """A replaced file moves from its row to the history of the row."""
    session.get_one(Page, 1).file = file(b"new")
    session.commit()
    assert session.get_one(Page, 1).file.get_content() == b"new"
    (history,) = session.scalars(sa.select(PageHistory))
    assert (history.title, history.file.get_content()) == ("one", b"old")


def test_file_that_stays(session: Session, copy: bool) -> None:  # noqa: FBT001
    """A file that stays in its row cannot be in the history too, and the error says what can: a copy."""
    session.get_one(Page, 1).title = "two"
    if not copy:
        with pytest.raises(ConflictError, match=r"another row already; assign file\.copy\(\)"):
            session.commit()
        session.rollback()
        return
    session.commit()
    (history,) = session.scalars(sa.select(PageHistory))
    assert history.file.get_content() == b"old"
    assert history.file != session.get_one(Page, 1).file


@pytest.fixture(scope="module")
def versioned() -> Iterator[tuple[type[Any], type[Any]]]:
    """A class with versions, and one whose versions leave the file out."""
    # It keeps the class of its transactions for ever, and a worker may come back to this module.
    sqlalchemy_continuum.versioning_manager.transaction_cls = sqlalchemy_continuum.TransactionFactory()
    sqlalchemy_continuum.make_versioned(user_cls=None)  # pyright: ignore[reportArgumentType]  # None is what its docs say

    class Versioned(DeclarativeBase):
        pass

    class Whole(Versioned):
        __versioned__: dict[str, Any] = {}  # noqa: RUF012  # as Continuum's users write it
        __tablename__ = "whole"

        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(sa.String(100))
        file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))

    class Partial(Versioned):
        __versioned__: dict[str, Any] = {"exclude": ["file"]}  # noqa: RUF012
        __tablename__ = "partial"

        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(sa.String(100))
        file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))

    configure_mappers()
    yield Whole, Partial
    sqlalchemy_continuum.remove_versioning()
    Versioned.registry.dispose()


@pytest.fixture
def continuum(url: str, backend: LocalBackend, versioned: tuple[type[Any], type[Any]]) -> Iterator[sa.Engine]:
    """A database of each kind, with the tables of these classes."""
    metadata = versioned[0].metadata
    engine = sa.create_engine(url)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    yield engine
    table = ledger_of(metadata)
    assert table is not None
    with engine.begin() as connection:
        connection.execute(table.update().values(not_before=0))
    sweep(engine, table, storages)
    with Session(engine) as session:
        kept = [*session.scalars(sa.select(versioned[1].file))]
    assert sorted(each.path for each in kept) == sorted(info.key for info in backend.list())
    metadata.drop_all(engine)
    engine.dispose()


# Continuum's own session shares the connection, and ends its transaction after that of the application.
@pytest.mark.filterwarnings("ignore:transaction already deassociated:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("written_first", [False, True])
def test_continuum(
    continuum: sa.Engine,
    versioned: tuple[type[Any], type[Any]],
    written_first: bool,  # noqa: FBT001
) -> None:
    """Continuum copies rows with their files: that is refused, and the error says how to leave them out.

    Also where SQLite cannot stage an object, and the transaction enters it with its row.
    """
    whole, partial = versioned
    with Session(continuum) as session:
        if written_first:
            session.add(partial(id=1, title="one", file=file(b"first")))
            session.flush()
        session.add(whole(id=1, title="one", file=file(b"old")))
        with pytest.raises(ConflictError, match="exclude"):
            session.commit()
        session.rollback()
        assert session.get(whole, 1) is None


def test_continuum_without_files(continuum: sa.Engine, versioned: tuple[type[Any], type[Any]]) -> None:
    """Left out, files are those of the row, and its other columns have versions."""
    partial = versioned[1]
    with Session(continuum) as session:
        session.add(partial(id=1, title="one", file=file(b"old")))
        session.commit()
        row = session.get_one(partial, 1)
        row.title, row.file = "two", file(b"new")
        session.commit()
        assert row.file.get_content() == b"new"
        assert [version.title for version in row.versions] == ["one", "two"]
