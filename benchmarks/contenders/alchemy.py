"""Litestar with Advanced Alchemy's own file objects, on obstore or fsspec.

In its ordinary form the file is saved by its session listener, after the commit. `saves_first` saves it in the handler,
before there is a row. A name of its own for each file is ours: equal names overwrite each other.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

from advanced_alchemy.extensions.litestar import EngineConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from advanced_alchemy.types import FileObject, StoredObject, storages
from litestar import Litestar, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.enums import MediaType, RequestEncodingType
from litestar.params import Body
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from pathlib import Path

    from advanced_alchemy.types.file_object import StorageBackend

__all__ = ("create_app",)


class Base(DeclarativeBase):
    """Models of this application."""


class Document(Base):
    """A row with one file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="theirs"))


def create_app(folder: Path, *, library: str, saves_first: bool = False) -> Litestar:
    """Return the application."""
    storages.register_backend(_backend(folder / "files", library))

    @post("/files", media_type=MediaType.TEXT)
    async def create(
        data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
        db_session: NamedDependency[AsyncSession],
    ) -> str:
        upload = data["file"]
        file = FileObject(
            backend="theirs",
            filename=upload.filename,
            to_filename=uuid.uuid4().hex,
            content_type=upload.content_type,
            content=None if saves_first else await upload.read(),
        )
        if saves_first:
            await file.save_async(upload.file)
        document = Document(file=file)
        db_session.add(document)
        await db_session.flush()
        return str(document.id)

    @get("/files/{number:int}")
    async def send(number: int, db_session: NamedDependency[AsyncSession]) -> Response[bytes]:
        file = (await db_session.get_one(Document, number)).file
        return Response(await file.get_content_async(), media_type=file.content_type)

    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(),
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    return Litestar([create, send], plugins=[SQLAlchemyPlugin(database)], request_max_body_size=None)


def _backend(files: Path, library: str) -> StorageBackend:
    files.mkdir(exist_ok=True)
    if library == "obstore":
        from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend

        return ObstoreBackend(key="theirs", fs=f"file://{files}/")
    from advanced_alchemy.types.file_object.backends.fsspec import FSSpecBackend

    return FSSpecBackend(key="theirs", fs="file", prefix=str(files))
