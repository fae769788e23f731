"""Two classes with files that share a ledger, apart from the model of the other tests."""

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, StoredObject

__all__ = ("BACKEND", "Invoice", "Receipt", "TwoBase")

BACKEND = "two"


class TwoBase(DeclarativeBase):
    pass


class Invoice(TwoBase):
    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class Receipt(TwoBase):
    __tablename__ = "receipt"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))
