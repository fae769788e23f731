"""FastAPI with fastapi-storages, as in its README: a synchronous session, the file saved while the row is inserted.

A name of its own for each file is ours: equal names overwrite each other.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from fastapi import FastAPI, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi_storages import FileSystemStorage
from fastapi_storages.integrations.sqlalchemy import FileType
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("create_app",)


def create_app(folder: Path) -> FastAPI:
    """Return the application."""
    storage = FileSystemStorage(path=str(folder / "files"))

    class Base(DeclarativeBase):
        pass

    class Document(Base):
        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[Any] = mapped_column(FileType(storage, upload_to=lambda _: uuid.uuid4().hex))

    engine = sa.create_engine(f"sqlite:///{folder / 'rows.sqlite'}")
    Base.metadata.create_all(engine)
    app = FastAPI()

    def create(file: UploadFile) -> str:
        document = Document(file=file)
        with Session(engine) as session:
            session.add(document)
            session.commit()
            return str(document.id)

    def send(number: int) -> FileResponse:
        with Session(engine) as session:
            return FileResponse(session.get_one(Document, number).file.path)

    app.post("/files", status_code=201, response_class=PlainTextResponse)(create)
    app.get("/files/{number}", response_model=None)(send)
    return app
