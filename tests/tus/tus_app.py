"""An application with a router for resumable uploads, in this process or as a program."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, Any

from litestar import Litestar, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import JSONBody, MultipartBody
from sqlalchemy import String, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    ContentTypes,
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MaxSize,
    StorageBackend,
    StoredObject,
    create_upload_router,
)
from litestar_filestore.ledger import LedgerConfig
from tests.tus.stores import open_store

__all__ = ("PATH", "SECRET", "Base", "Document", "create_app_from_environment", "make_app")

PATH = "/documents/uploads"
SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"


class Base(DeclarativeBase):
    """The classes of these tests."""


class Document(Base):
    """A row with a file and a list of files."""

    __tablename__ = "tus_document"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(40))
    file: Mapped[FileObject] = mapped_column(
        StoredObject("documents", rules=[MaxSize("100 MB"), ContentTypes("text/plain", "application/octet-stream")])
    )
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject("documents", multiple=True))


@dataclass
class DocumentForm:
    """What a page sends in the end: bytes, or the references of finished uploads."""

    title: str
    file: Annotated[FileObject, Document.file]
    pages: Annotated[list[FileObject], Document.pages] = field(default_factory=list)


@post("/documents")
async def create(data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> dict[str, Any]:
    """Make a row."""
    row = Document(title=data.title, file=data.file, pages=FileObjectList(data.pages))
    db_session.add(row)
    await db_session.commit()
    return {"id": row.id, "size": row.file.size, "pages": [each.filename for each in row.pages or ()]}


@post("/documents/json")
async def create_from_json(data: JSONBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> int:
    """Make a row from JSON."""
    row = Document(title=data.title, file=data.file)
    db_session.add(row)
    await db_session.commit()
    return row.id


def signed_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let in everybody but a stranger."""
    if connection.headers.get("x-user") == "stranger":
        raise NotAuthorizedException


def user_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return who is asking."""
    return connection.headers.get("x-user", "ann")


def make_app(backend: StorageBackend, engine: AsyncEngine, *, ledger: Any = None, **options: Any) -> Litestar:
    """Return the application with its rows in a database and its files in a backend."""
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _do_not_sync)
    made = async_sessionmaker(engine, expire_on_commit=False)

    async def provide_session() -> AsyncGenerator[AsyncSession]:
        async with made() as session:
            yield session

    router = create_upload_router(PATH, Document.file, **{"guards": [signed_in], "owner": user_of, **options})
    ledger = LedgerConfig([engine], run_sweeper=False) if ledger is None else ledger(engine)
    plugin = FilestorePlugin(FilestoreConfig([backend], secret=SECRET, ledger=ledger))
    return Litestar(
        [router, create, create_from_json],
        plugins=[plugin],
        dependencies={"db_session": Provide(provide_session)},
        on_shutdown=[engine.dispose],
        openapi_config=None,
    )


def _do_not_sync(connection: Any, _: Any) -> None:
    # A killed process loses nothing by it, only a power cut would.
    connection.execute("PRAGMA synchronous = OFF")


def create_app_from_environment() -> Litestar:
    """Return the application on the database and the store that the environment names, for a server."""
    store, engine = open_store(os.environ["TUS_STORE"]), create_async_engine(os.environ["TUS_DATABASE"])
    both = bool(int(os.environ["TUS_EXPERIMENTAL"]))
    return make_app(store, engine, max_open_per_owner=int(os.environ["TUS_MAX_OPEN"]), experimental_http_uploads=both)
