"""FastAPI with sqlalchemy-file, as in its tutorial: a synchronous session, the file saved while the row is inserted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from fastapi import FastAPI, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse
from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy_file import File, FileField
from sqlalchemy_file.storage import StorageManager

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("create_app",)


class Base(DeclarativeBase):
    """Models of this application."""


class Document(Base):
    """A row with one file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[Any] = mapped_column(FileField)


def create_app(folder: Path) -> FastAPI:
    """Return the application."""
    (folder / "files").mkdir(exist_ok=True)
    StorageManager.add_storage("files", LocalStorageDriver(str(folder)).get_container("files"))
    engine = sa.create_engine(f"sqlite:///{folder / 'rows.sqlite'}")
    Base.metadata.create_all(engine)
    app = FastAPI()

    def create(file: UploadFile) -> str:
        document = Document(file=File(file.file, filename=file.filename, content_type=file.content_type))
        with Session(engine) as session:
            session.add(document)
            session.commit()
            return str(document.id)

    def send(number: int) -> FileResponse:
        with Session(engine) as session:
            stored = StorageManager.get_file(session.get_one(Document, number).file.path)
        return FileResponse(stored.get_cdn_url(), media_type=stored.content_type, filename=stored.filename)

    app.post("/files", status_code=201, response_class=PlainTextResponse)(create)
    app.get("/files/{number}", response_model=None)(send)
    return app
