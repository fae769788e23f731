"""Columns that make files by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError, UnsupportedOperationError
from tests.orm.models import BACKEND, a_file

if TYPE_CHECKING:
    from tests.orm.databases import Database


class Base(DeclarativeBase):
    pass


class Contract(Base):
    __tablename__ = "contract"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


def named(context: Any) -> FileObject:
    """Make a file of another column."""
    return a_file(context.get_current_parameters()["name"].encode())


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    avatar: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND), default=lambda: a_file(b"avatar"))
    shared: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND), insert_default=a_file(b"shared"))
    card: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND), default=named)
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(BACKEND, multiple=True), default=list)
    proofs: Mapped[FileObjectList | None] = mapped_column(
        StoredObject(BACKEND, multiple=True), default=lambda: [a_file(b"proof")]
    )


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The models of this module."""
    return Base


def contents(db: Database) -> list[tuple[Any, ...]]:
    """Return what the rows hold."""

    def read(session: Session) -> list[tuple[Any, ...]]:
        return [
            (
                *(file and file.get_content() for file in (user.avatar, user.shared, user.card)),
                len(user.pages),
                [proof.get_content() for proof in user.proofs or ()],
            )
            for user in session.scalars(sa.select(User).order_by(User.id))
        ]

    return db.run(read)


def made(name: bytes) -> tuple[Any, ...]:
    """Return what a row holds that said nothing about files."""
    return b"avatar", b"shared", name, 0, [b"proof"]


def test_add(db: Database) -> None:
    """A new row gets its own files from its columns, whatever kind of default they have."""

    def work(session: Session) -> None:
        session.add_all([User(id=1, name="one"), User(id=2, name="two")])
        session.commit()

    db.run(work)
    assert contents(db) == [made(b"one"), made(b"two")]


def test_add_with_files(db: Database) -> None:
    """What a row says itself counts."""

    def work(session: Session) -> None:
        session.add(User(id=1, name="one", avatar=a_file(b"own"), pages=[a_file(b"page")]))
        session.commit()

    db.run(work)
    assert contents(db) == [(b"own", b"shared", b"one", 1, [b"proof"])]


def test_rollback(db: Database) -> None:
    """Files of defaults go with their row, and are made again when it is added again."""

    def work(session: Session) -> None:
        user = User(id=1, name="one")
        session.add(user)
        session.flush()
        session.rollback()
        session.add(user)
        session.commit()

    db.run(work)
    assert contents(db) == [made(b"one")]


def test_row_in_place_of_a_deleted_one(db: Database) -> None:
    """A new row that takes the place of a deleted one gets files of its own."""

    def work(session: Session) -> None:
        session.add(User(id=1, name="one"))
        session.commit()
        session.delete(session.get_one(User, 1))
        session.add(User(id=1, name="two"))
        session.commit()

    db.run(work)
    assert contents(db) == [made(b"two")]


@pytest.mark.parametrize("count", [1, 2])
def test_insert_statements(db: Database, count: int) -> None:
    """INSERT through the class gives files too."""

    def work(session: Session) -> None:
        rows = [{"id": number, "name": str(number)} for number in range(1, count + 1)]
        session.execute(sa.insert(User), rows)
        session.commit()

    db.run(work)
    assert contents(db) == [made(str(number).encode()) for number in range(1, count + 1)]


def test_insert_statement_with_values(db: Database) -> None:
    """So does one whose values stand in the statement, for one row; for several it is refused."""

    def work(session: Session) -> None:
        session.execute(sa.insert(User).values(id=1, name="one"))
        session.execute(sa.insert(User).values(id=2), {"name": "two"})
        session.commit()
        rows = [{"id": 3, "name": "three"}, {"id": 4, "name": "four"}]
        with pytest.raises(UnsupportedOperationError, match="parameters"):
            session.execute(sa.insert(User).values(rows))
        session.rollback()

    db.run(work)
    assert contents(db) == [made(b"one"), made(b"two")]


def test_context_that_needs_a_statement() -> None:
    """A default that asks its context for more than the row is told what it can have."""

    class Other(DeclarativeBase):
        pass

    class Row(Other):
        __tablename__ = "row"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND), default=lambda context: context.connection)

    engine = sa.create_engine("sqlite://")
    Other.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Row(id=1))
        with pytest.raises(UnsupportedOperationError, match="'connection'"):
            session.flush()
    engine.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"onupdate": a_file}, "onupdate"), ({"default": sa.text("'{}'")}, "SQL expression")],
    ids=["onupdate", "expression"],
)
def test_what_cannot_work(options: dict[str, Any], message: str) -> None:
    """What only the database, or only the UPDATE itself, would know is refused with the class."""

    class Other(DeclarativeBase):
        pass

    class Row(Other):
        __tablename__ = "row"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND), **options)

    try:
        with pytest.raises(ConfigurationError, match=message):
            configure_mappers()
    finally:
        Other.registry.dispose()


def test_null_as_default() -> None:
    """NULL is no file, and no reason to refuse the class."""

    class Other(DeclarativeBase):
        pass

    class Row(Other):
        __tablename__ = "row"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND), default=sa.null())

    engine = sa.create_engine("sqlite://")
    Other.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(row := Row(id=1))
        session.commit()
        assert row.file is None
    engine.dispose()


def test_row_without_the_file_that_it_needs(db: Database) -> None:
    """The error names the attribute and what to do, before the database says that a constraint failed."""
    message = r"Contract.file must hold a file, and this row has none: .*Mapped\[FileObject \| None\]"

    def insert(session: Session) -> None:
        session.add(Contract(id=1))
        with pytest.raises(InvalidArgumentError, match=message):
            session.flush()
        session.rollback()
        session.add(Contract(id=1, file=a_file()))
        session.commit()

    def update(session: Session) -> None:
        contract = session.get_one(Contract, 1)
        contract.file = cast("Any", None)
        with pytest.raises(InvalidArgumentError, match=message):
            session.flush()

    db.run(insert)
    db.run(update)
