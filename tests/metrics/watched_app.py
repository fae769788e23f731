"""An application whose files somebody watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath, MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    ContentTypes,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    RawBody,
    StorageBackend,
    StoredObject,
    create_upload_router,
)
from litestar_filestore.ledger import LedgerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ("SECRET", "Base", "Document", "make_app")

SECRET = "Zk3mVw8TqL1xPc6yRd9hFs4jNb7gUa2e"


class Base(DeclarativeBase):
    """The models."""


class Document(Base):
    """A row with a file."""

    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="documents", rules=[ContentTypes("text/*")]), nullable=True
    )


@dataclass
class Form:
    """A form with a file."""

    file: Annotated[FileObject, Document.file]


@post("/")
async def create(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    """Commit a row."""
    row = Document(file=data.file)
    db_session.add(row)
    await db_session.commit()
    return row.id


@put("/{row_id:int}")
async def replace(row_id: FromPath[int], data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    """Commit another file for a row."""
    (await db_session.get_one(Document, row_id)).file = data.file
    await db_session.commit()


@post("/undone")
async def undone(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    """Write a row, and change one's mind."""
    db_session.add(Document(file=data.file))
    await db_session.flush()
    raise ClientException


@post("/raw")
async def raw(raw_upload: RawBody, db_session: NamedDependency[AsyncSession]) -> None:
    """Commit a row whose file is the body."""
    db_session.add(Document(file=await raw_upload.store("documents", filename="a.txt")))
    await db_session.commit()


def make_app(folder: Path, backend: StorageBackend, watchers: Sequence[Any] = (), **options: Any) -> Litestar:
    """Build the application with its database in a folder."""
    alchemy = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        metadata=Base.metadata,
        create_all=True,
        session_config=AsyncSessionConfig(expire_on_commit=False),
        engine_config=EngineConfig(connect_args={"timeout": 30}),
    )
    ledger = LedgerConfig(sweep_interval_seconds=0.05)
    storage = FilestoreConfig(backends=[backend], secret=SECRET, watchers=watchers, ledger=ledger)
    routes: list[Any] = [create, replace, undone, raw, create_upload_router("/tus", Document.file, public=True)]

    async def dispose() -> None:
        await alchemy.get_engine().dispose()

    return Litestar(
        routes,
        on_shutdown=[dispose],
        logging_config=None,
        plugins=[SQLAlchemyPlugin(alchemy), FilestorePlugin(storage)],
        **options,
    )
