"""Models in a schema, and in none, for tests that translate it."""

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, StoredObject
from tests.ledger.models import BACKEND

__all__ = ("Letter", "Post")


class Post(DeclarativeBase):
    metadata = MetaData(schema="post")


class Letter(Post):
    __tablename__ = "letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
