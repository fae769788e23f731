"""This package: typed form, streamed upload, file and row kept together. The variants leave out what peers lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import EngineConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    StoredObject,
    UploadLimits,
    storages,
)

if TYPE_CHECKING:
    from pathlib import Path

    from litestar_filestore import StorageBackend

__all__ = ("create_app",)

_SECRET = "sXk2uRr8Nq0vT4yB7dLwZ1mCfHj6PgEa"  # noqa: S105  # of an application that ends with the benchmark
_MAX_BYTES = 8 * 1024**3


@dataclass
class Form:
    """A form with one file."""

    file: FileObject


def create_app(folder: Path, *, has_ledger: bool = True, **backend: Any) -> Litestar:
    """Return the application.

    Args:
        folder: Where rows and files are kept.
        has_ledger: Whether the objects are kept in the ledger.
        backend: Arguments of the backend, and ``store``.
    """

    class Base(DeclarativeBase):
        metadata = sa.MetaData(info={} if has_ledger else {"litestar_filestore.ledger": False})

    class Document(Base):
        __tablename__ = "document"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject("bench"))

    @post("/files", media_type=MediaType.TEXT)
    async def create(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> str:
        document = Document(file=data.file)
        db_session.add(document)
        await db_session.flush()
        return str(document.id)

    @get("/rows/{number:int}")
    async def send_row(number: int, db_session: NamedDependency[AsyncSession]) -> FileDownload:
        return FileDownload((await db_session.get_one(Document, number)).file)

    @get("/links/{number:int}", media_type=MediaType.TEXT)
    async def link_to(number: int, db_session: NamedDependency[AsyncSession]) -> str:
        return storages.url_for((await db_session.get_one(Document, number)).file) or ""

    @get("/addresses/{number:int}", media_type=MediaType.TEXT)
    async def address_of(number: int, db_session: NamedDependency[AsyncSession]) -> str:
        return f"/keys/{(await db_session.get_one(Document, number)).file.key}"

    @get("/keys/{key:path}")
    async def send(key: str) -> FileDownload:
        return FileDownload.of("bench", key.removeprefix("/"))

    @get("/documents")
    async def list_all(db_session: NamedDependency[AsyncSession]) -> list[Document]:
        return list(await db_session.scalars(sa.select(Document).limit(1000)))

    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(),
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    files = FilestoreConfig(
        [_backend(folder, **backend)],
        secret=_SECRET,
        limits=UploadLimits(max_file_bytes=_MAX_BYTES, max_uploads=64, max_uploads_per_address=64),
    )
    # Litestar makes DTOs of a model that it finds by name.
    signatures = {"Document": Document}
    handlers = [create, send_row, link_to, address_of, send, list_all]
    return Litestar(
        handlers,
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(files)],
        signature_namespace=signatures,
        request_max_body_size=None,
    )


def _backend(folder: Path, *, store: str = "local", **options: Any) -> StorageBackend:
    if store == "local":
        return LocalBackend("bench", folder / "files", **options)
    from benchmarks.places import make_backend, place_from_environment

    return make_backend("S3, obstore", place_from_environment(), **options)
