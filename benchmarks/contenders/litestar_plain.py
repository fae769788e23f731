"""A Litestar handler as one writes it without a library for files: form, bytes to a file, a row by an async session.

Nothing keeps file and row together. The responses are Litestar's own.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from advanced_alchemy.extensions.litestar import EngineConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.enums import MediaType, RequestEncodingType
from litestar.params import Body
from litestar.response import File
from sqlalchemy import JSON, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("create_app",)

_BLOCK_BYTES = 1024 * 1024


class Base(DeclarativeBase):
    """Models of this application."""


class Document(Base):
    """A row that says where its file is."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[dict[str, Any]] = mapped_column(JSON)


@lru_cache(maxsize=2)
def _content(path: Path) -> bytes:
    """Return bytes that are in memory already, but for the first time."""
    return path.read_bytes()


def create_app(folder: Path) -> Litestar:
    """Return the application."""
    files = folder / "files"
    files.mkdir(exist_ok=True)

    @post("/files", media_type=MediaType.TEXT)
    async def create(
        data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
        db_session: NamedDependency[AsyncSession],
    ) -> str:
        name, size = uuid.uuid4().hex, 0
        upload = data["file"]
        with (files / name).open("xb") as file:  # into the page cache
            while block := await upload.read(_BLOCK_BYTES):
                size += file.write(block)
        facts = {"name": name, "filename": upload.filename, "content_type": upload.content_type, "size": size}
        document = Document(file=facts)
        db_session.add(document)
        await db_session.flush()
        return str(document.id)

    @get("/names/{number:int}", media_type=MediaType.TEXT)
    async def name_of(number: int, db_session: NamedDependency[AsyncSession]) -> str:
        return f"/files/{(await db_session.get_one(Document, number)).file['name']}"

    @get("/files/{name:str}")
    async def send(name: str) -> File:
        return File(files / name, filename="a.bin")

    @get("/rows/{number:int}")
    async def send_row(number: int, db_session: NamedDependency[AsyncSession]) -> File:
        facts = (await db_session.get_one(Document, number)).file
        return File(files / facts["name"], filename=facts["filename"])

    @get("/lookups/{number:int}")
    async def look_up(number: int, db_session: NamedDependency[AsyncSession]) -> Response[bytes]:
        facts = (await db_session.get_one(Document, number)).file
        return Response(_content(files / facts["name"]), media_type=facts["content_type"])

    @get("/documents")
    async def list_all(db_session: NamedDependency[AsyncSession]) -> list[Document]:
        return list(await db_session.scalars(select(Document).limit(1000)))

    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(),
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    handlers = [create, name_of, send, send_row, look_up, list_all]
    return Litestar(handlers, plugins=[SQLAlchemyPlugin(database)], request_max_body_size=None)
