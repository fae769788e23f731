"""Classes that share a table, and one that has a second table, with files in all of them."""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, StoredObject

__all__ = ("BACKEND", "Animal", "Base", "Cat", "Dog", "Horse", "a_photo")

BACKEND = "animals"


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    owner: Mapped[int] = mapped_column(default=1)
    photo: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012

    collar: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Horse(Animal):
    __tablename__ = "horse"
    __mapper_args__ = {"polymorphic_identity": "horse"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    saddle: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


def a_photo(name: str) -> FileObject:
    """Make a file that is still to be stored; its content is its name."""
    return FileObject(BACKEND, name, content=name.encode())
