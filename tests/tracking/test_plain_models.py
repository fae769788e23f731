"""Models of every shape, on plain declarative bases; `db` compares store and rows after each test."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    deferred,
    mapped_column,
    relationship,
)

from litestar_filestore import FileObject, FileObjectList, StorageBackend, StoredObject
from tests.orm.databases import Database, keys_in_rows
from tests.orm.models import BACKEND, a_file


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parent"

    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list["Child"]] = relationship(back_populates="parent", cascade="all, delete-orphan")


class Child(Base):
    __tablename__ = "child"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(sa.ForeignKey("parent.id"))
    parent: Mapped[Parent] = relationship(back_populates="children")
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


class HasCover:
    """Brings a file column to whoever inherits it."""

    cover: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Book(HasCover, Base):
    """Several columns: of a mixin, renamed, deferred, named like a method of rows, a list."""

    __tablename__ = "book"

    shelf: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[FileObject | None] = mapped_column("text_file", StoredObject(BACKEND))
    audio: Mapped[FileObject | None] = deferred(mapped_column(StoredObject(BACKEND)))
    count: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(BACKEND, multiple=True), default=list)


class Animal(Base):
    """The root of a joined and a single-table hierarchy."""

    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photo: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Dog(Animal):
    """A table of its own beside the root's."""

    __tablename__ = "dog"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(sa.ForeignKey("animal.id"), primary_key=True)
    bark: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Cat(Animal):
    """In the root's table."""

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012

    purr: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class DataclassModel(MappedAsDataclass, Base):
    __tablename__ = "dataclass_model"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND), default=None)
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject(BACKEND, multiple=True), default=None)


class Imperative:
    """Mapped without declarative, see below."""

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


Base.registry.map_imperatively(
    Imperative,
    sa.Table(
        "imperative",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("file", StoredObject(BACKEND)),
    ),
)


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """The models of this module."""
    return Base


def add(session: Session, *rows: object) -> None:
    """Commit rows."""
    session.add_all(rows)
    session.commit()


# -- relationships


def test_file_goes_with_the_child_that_goes_with_its_parent(db: Database) -> None:
    """A delete cascade disposes of the objects of all children."""

    def work(session: Session) -> None:
        add(session, parent := Parent(id=1, children=[Child(file=a_file()), Child(file=a_file())]))
        session.delete(parent)
        session.commit()

    db.run(work)


@pytest.mark.parametrize("how", ["remove", "replace", "expired"])
def test_file_goes_with_the_orphan(db: Database, backend: StorageBackend, how: str) -> None:
    """A row that the flush deletes by itself is noticed."""

    def work(session: Session) -> None:
        add(session, parent := Parent(id=1, children=[Child(file=a_file()), Child(file=a_file())]))
        child = parent.children[0]
        if how == "expired":
            session.expire(child)
        if how == "replace":
            parent.children = [Child(file=a_file())]
        else:
            parent.children.remove(child)
        session.commit()

    db.run(work)
    assert len(keys_in_rows(db)) == 1


def test_orphan_with_new_content_leaves_nothing(db: Database, backend: StorageBackend) -> None:
    """Content given to a row that the same flush deletes is not kept."""

    def work(session: Session) -> None:
        add(session, parent := Parent(id=1, children=[Child(file=a_file())]))
        child = parent.children[0]
        child.file = a_file(b"new")
        parent.children.remove(child)
        session.commit()

    db.run(work)
    assert keys_in_rows(db) == set()


# -- columns


def test_all_columns_of_a_row_are_stored_replaced_and_deleted(db: Database, backend: StorageBackend) -> None:
    """Mixins, other column names, deferred columns, lists and composite primary keys change nothing."""

    def work(session: Session) -> None:
        names = ("cover", "text", "audio", "count")
        add(session, Book(shelf=1, place="a", pages=[a_file()], **{name: a_file() for name in names}))
        session.expunge_all()
        book = session.get_one(Book, (1, "a"))
        for name in names:
            setattr(book, name, a_file(b"new"))
        book.pages.append(a_file())
        session.commit()
        session.expunge_all()
        session.delete(session.get_one(Book, (1, "a")))
        session.commit()

    db.run(work)
    assert keys_in_rows(db) == set()


def test_rows_with_composite_keys_are_deleted_together(db: Database) -> None:
    """More rows than SQLite nests conditions for."""

    def work(session: Session) -> None:
        add(session, *(Book(shelf=number, place="a", text=a_file()) for number in range(450)))
        for book in session.scalars(sa.select(Book)):
            session.delete(book)
        session.commit()

    db.run(work)


def test_default_of_a_list_column_is_tracked(db: Database, backend: StorageBackend) -> None:
    """A list that a default made notices its changes once it is loaded."""

    def work(session: Session) -> None:
        add(session, book := Book(shelf=1, place="a"))
        book.pages.append(a_file())
        session.commit()

    db.run(work)
    assert len(keys_in_rows(db)) == 1


def test_changed_primary_key_keeps_the_file(db: Database, backend: StorageBackend) -> None:
    """A row that gets another identity and another file in one flush gives up the right object."""

    def work(session: Session) -> None:
        add(session, book := Book(shelf=1, place="a", text=a_file(b"old"), cover=a_file(b"cover")))
        book.place = "b"
        book.text = a_file(b"new")
        session.commit()

    db.run(work)
    assert len(keys_in_rows(db)) == 2


# -- hierarchies


@pytest.mark.parametrize(("model", "names"), [(Animal, ("photo",)), (Dog, ("photo", "bark")), (Cat, ("photo", "purr"))])
def test_class_of_a_hierarchy(
    db: Database, backend: StorageBackend, model: type[Animal], names: tuple[str, ...]
) -> None:
    """Inherited columns and own ones are stored, replaced in place and deleted, loaded as the root class or not."""

    def work(session: Session) -> None:
        add(session, model(id=1, **{name: a_file() for name in names}))
        session.expunge_all()
        animal = session.get_one(Animal, 1)
        for name in names:
            setattr(animal, name, a_file(b"new"))
        session.commit()
        for name in names:
            getattr(animal, name).update_metadata({"seen": True})
        session.commit()
        session.expunge_all()
        animal = session.get_one(Animal, 1)
        assert [getattr(animal, name).metadata for name in names] == [{"seen": True}] * len(names)
        session.delete(animal)
        session.commit()

    db.run(work)
    assert keys_in_rows(db) == set()


# -- other ways to map


def test_dataclass_model(db: Database, backend: StorageBackend) -> None:
    """A model that is a dataclass stores, edits and deletes as any other."""

    def work(session: Session) -> None:
        add(session, row := DataclassModel(id=1, file=a_file(), pages=FileObjectList([a_file()])))
        assert row.pages is not None
        row.pages.append(a_file())
        row.file = a_file(b"new")
        session.commit()

    db.run(work)
    assert len(keys_in_rows(db)) == 3


def test_imperative_mapping(db: Database, backend: StorageBackend) -> None:
    """Declarative is not needed."""

    def work(session: Session) -> None:
        add(session, row := Imperative(id=1, file=a_file()))
        setattr(row, "file", a_file(b"new"))  # noqa: B010  # the class declares no attributes
        session.commit()

    db.run(work)
    assert len(keys_in_rows(db)) == 1
